"""A catalogue with modes, services that fall and rise by real results, and a test that is the worker."""

from __future__ import annotations

import importlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import admission, clock
from app.catalog import Catalog
from app.health import record, sync_catalog
from app.health.results import ProbeError, ProbeResult
from app.infra import redis
from app.infra.db import read_only, unit_of_work
from app.jobs import spec, worker
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import catalog_of, tcp, use

SERVICES = tcp("qdrant") + tcp("n8n")
NO_VECTORS = """
[modes.no-vectors]
description = "brand context is left out"
while_down = ["qdrant"]
fall_back = ["brand-context"]
wait = ["publish-with-context"]
"""


class Scene:
    """What a test does to the stack, and what callers see of it."""

    def __init__(self, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = ledger
        self._home, self._monkeypatch = home, monkeypatch
        self._at = clock.now() - timedelta(minutes=30)

    def catalogue(self, text: str) -> Catalog:
        """From now on this is the file, and the services follow it."""
        use(self._monkeypatch, self._home, text)
        found = catalog_of(text)
        with unit_of_work() as uow:
            sync_catalog(uow, found)
        return found

    def fall(self, service: str, *, ago: timedelta | None = None) -> None:
        """Three failures in a row. `ago`: when the first of them was."""
        self._results(service, ok=False, times=3, ago=ago)

    def rise(self, service: str) -> None:
        """Two successes in a row."""
        self._results(service, ok=True, times=2)

    def _results(self, service: str, *, ok: bool, times: int, ago: timedelta | None = None) -> None:
        if ago is not None:
            self._at = clock.now() - ago
        for _ in range(times):
            error = None if ok else ProbeError("refused", "connection refused")
            result = ProbeResult(ok=ok, started_at=self._at, finished_at=self._at, latency_ms=1.0, error=error)
            self._at += timedelta(seconds=1)
            with unit_of_work() as uow:
                record(uow, [(service, result)], source="engine", in_maintenance=lambda *_: False)

    def jobs(self) -> list[Any]:
        """The waiting jobs of modes, oldest first."""
        return list(
            self.ledger.sql(
                "SELECT id, task, kwargs, not_before, not_before <= now() AS due FROM jobs"
                " WHERE task LIKE 'tasks.admission.%' ORDER BY created_at, id"
            )
        )

    def work(self) -> int:
        """Run what is due, and what comes of it, until nothing is; how many jobs that were."""
        done = 0
        while due := [job for job in self.jobs() if job.due]:
            for job in due:
                self.run(job.id)
                done += 1
        return done

    def run(self, job_id: UUID) -> None:
        """One attempt of one job, as a worker would make it."""
        self.ledger.sql("UPDATE jobs SET state = 'rung' WHERE id = :id AND state = 'scheduled'", id=job_id)
        claimed = worker.claim(job_id, worker="the-test")
        assert claimed is not None
        body = getattr(importlib.import_module("tasks.admission"), claimed.task.rpartition(".")[2])
        worker.run(claimed, spec.get(claimed.task), body)

    def reconcile(self) -> None:
        """What happens each minute."""
        with unit_of_work() as uow:
            admission.reconcile(uow)

    def enter(self, name: str, *, by: str = "person:ann", reason: str = "because", **more: Any) -> admission.Hold:
        with unit_of_work() as uow:
            return admission.enter(uow, name, by=by, reason=reason, now=more.pop("now", clock.now()), **more)

    def leave(self, name: str, *, by: str = "person:ann") -> list[admission.Hold]:
        with unit_of_work() as uow:
            return admission.leave(uow, name, by=by, now=clock.now())

    def modes(self) -> admission.Modes:
        """As the API tells them."""
        with read_only() as session:
            return admission.read(session)

    def on(self) -> list[tuple[str, str]]:
        """Each mode with who holds it."""
        return [(hold.name, hold.set_by) for hold in self.modes().holds]

    def effects(self) -> dict[str, str]:
        return {name: str(answer.effect) for name, answer in self.modes().operations.items()}

    def mirrored(self) -> dict[str, Any] | None:
        """What the key in Redis says."""
        text = redis.client().get(admission.KEY)
        return None if text is None else dict(json.loads(text))

    def signals(self, kind: str = "modes.%") -> list[Any]:
        query = "SELECT kind, subject, labels, facts FROM signals WHERE kind LIKE :kind ORDER BY id"
        return list(self.ledger.sql(query, kind=kind))

    def told(self) -> list[tuple[str, str]]:
        """Each signal of a mode: its kind's last word, and the mode."""
        return [(row.kind.removeprefix("modes."), row.labels["mode"]) for row in self.signals()]


@pytest.fixture
def scene(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Two services that are up, one mode."""
    made = Scene(ledger, home, monkeypatch)
    made.catalogue(SERVICES + NO_VECTORS)
    for service in ("qdrant", "n8n"):
        made.rise(service)
    return made

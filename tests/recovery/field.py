"""Recovery in a test's hands: services fall and rise, jobs are run as a worker runs them, time passes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from app import catalog, clock, health
from app.catalog import Service
from app.health.results import ProbeError, ProbeResult
from app.infra.db import read_only, unit_of_work
from app.jobs import spec, worker
from app.recovery import reading, sweeping, triggering
from app.recovery.acting import Options, Work
from app.recovery.actions import actions
from app.recovery.core import Done, Effect, Result, Run
from app.recovery.store import runs
from tests.health.catalogs import use

PLAYBOOK = """
[recovery]
cooldown = 0
containers = ["claw-*"]

[playbooks.restart]
on = "health.down"
unless = {"service.container" = ""}
steps = [{do = "poke", word = "{service.container}"}, {do = "stare", after = 0}]
advice = "look at {subject}"
"""


def service_of(name: str, port: int = 1, **more: Any) -> str:
    lines = [f"[services.{name}]", 'kind = "tcp"', 'host = "127.0.0.1"', f"port = {port}", f'container = "claw-{name}"']
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in more.items())]) + "\n"


class PokeOptions(Options):
    word: str = ""
    more: dict[str, Any] = {}


@dataclass
class Poke:
    """An action that changes something: what it is told to, and every time it was asked is kept."""

    NAME: str
    EFFECT: Effect
    SUMMARY: str = "for tests"
    KINDS: tuple[str, ...] = ()
    Options: type[Options] = PokeOptions
    result: Callable[[Work], Result] = lambda work: Done("poked it")
    asked: list[Work] = field(default_factory=list)

    def says(self, options: Any, service: Service) -> str:
        return f"{self.NAME} {options.word}".strip()

    def forbidden(self, options: Any, service: Service, catalog: Any) -> str | None:
        return "nobody may poke that" if options.word == "claw-forbidden" else None

    def act(self, options: Any, work: Work) -> Result:
        self.asked.append(work)
        return self.result(work)


class Field:
    """Everything runs in this process, but for what time does."""

    def __init__(self) -> None:
        self.poke = Poke("poke", Effect.RESTART)
        self.stare = Poke("stare", Effect.NONE, result=lambda work: Done("still down", healthy=False))
        self._after = 0.0

    def follow(self) -> None:
        """Services follow the catalogue."""
        with unit_of_work() as uow:
            health.sync_catalog(uow, catalog.current())

    def see(self, service: str, *marks: str, readings: dict[str, Any] | None = None, **levels: str) -> None:
        """Results of a service: "u" is good, "d" is bad."""
        results = []
        for mark in marks:
            self._after += 0.001
            now = clock.now() + timedelta(seconds=self._after)
            error = None if mark == "u" else ProbeError("refused", "connection refused")
            result = ProbeResult(
                ok=mark == "u", started_at=now, finished_at=now, error=error, readings=readings or {}, levels=levels,
                warnings=tuple(levels),
            )  # fmt: skip
            results.append((service, result))
        with unit_of_work() as uow:
            health.record(uow, results, source="engine", in_maintenance=lambda *_: False, now=clock.now())

    def fall(self, service: str) -> None:
        self.see(service, "d", "d", "d")

    def rise(self, service: str) -> None:
        self.see(service, "u", "u")

    def work(self, *, only: str = "tasks.recovery", most: int = 50) -> int:
        """Run the jobs of recovery that are due, and those that they bring about; how many there were."""
        done = 0
        while done < most:
            due = self.sql(
                "SELECT id, task FROM jobs WHERE task LIKE :task AND (not_before IS NULL OR not_before <= now())"
                " AND state IN ('scheduled', 'rung') ORDER BY id LIMIT 1",
                task=f"{only}%",
            )
            if not due:
                return done
            self.run_job(due[0].id)
            done += 1
        raise AssertionError("it never ends")

    def run_job(self, job: UUID) -> None:
        """One attempt of one job, as a worker does it."""
        self.sql("UPDATE jobs SET state = 'rung', rung_at = now() WHERE id = :id AND state = 'scheduled'", id=job)
        claimed = worker.claim(job, worker="a-worker")
        assert claimed is not None
        module = importlib.import_module("tasks." + claimed.task.split(".")[1])
        worker.run(claimed, spec.get(claimed.task), getattr(module, claimed.task.split(".")[2]))

    def look(self) -> None:
        """The tick, and the jobs it brings about."""
        sweeping.look()
        self.work()

    def age(self, **passed: float) -> None:
        """Let everything of recovery have happened so much earlier."""
        seconds = timedelta(**passed).total_seconds()
        for table in ("recovery_runs", "recovery_steps", "recovery_restarts", "jobs"):
            columns = self.sql(
                "SELECT column_name FROM information_schema.columns WHERE table_name = :table"
                " AND data_type = 'timestamp with time zone'",
                table=table,
            )
            moved = ", ".join(f"{name} = {name} - make_interval(secs => :seconds)" for (name,) in columns)
            self.sql(f"UPDATE {table} SET {moved}", seconds=seconds)

    def start(self, playbook: str, service: str, **more: Any) -> UUID:
        """A person starts a run."""
        with unit_of_work() as uow:
            return triggering.start(uow, playbook, service, by="ann", now=clock.now(), **more)

    def runs(self, service: str | None = None) -> list[Run]:
        """Every run, the oldest first."""
        where = "true" if service is None else "service = :service"
        with read_only() as session:
            return runs(session, where, "created_at, id", **({"service": service} if service else {}))

    def shown(self) -> list[dict[str, Any]]:
        with read_only() as session:
            return reading.list_runs(session)

    def signals(self, kind: str) -> list[Any]:
        return list(self.sql("SELECT * FROM signals WHERE kind LIKE :kind ORDER BY id", kind=kind))

    def sql(self, statement: str, **parameters: Any) -> Any:
        """One statement, committed."""
        with unit_of_work() as uow:
            result = uow.execute(statement, **parameters)
            return result.all() if result.returns_rows else None


@pytest.fixture
def play(database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`play(text)`: a field under that catalogue, with the actions poke (changes something) and stare (only looks)."""
    made = Field()
    known = actions()
    known |= {"poke": made.poke, "stare": made.stare}  # type: ignore[dict-item]
    importlib.import_module("tasks.celery").compose()

    def begin(text: str) -> Field:
        use(monkeypatch, home, text)
        made.follow()
        return made

    yield SimpleNamespace(__call__=begin, begin=begin)
    for name in ("poke", "stare"):
        del known[name]

"""The pipeline in a test's hands: alerts begin and end, time passes, and what was told is read from the ledger."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import clock, signals
from app.alerts import acting, pipeline, raising
from app.alerts.acting import Target
from app.alerts.fingerprint import fingerprint
from app.infra import ids
from app.infra.db import read_only, unit_of_work
from tests.health.catalogs import tcp, use

TABLES = ("alert_episodes", "alert_groups", "alert_group_members", "notifications", "alert_silences", "alert_clock")

CATALOG = (
    tcp("shop")
    + """
[alerting]
hold_after_start = 0

[channels.ops]
kind = "webhook"
url = "http://127.0.0.1:9/ops"

[channels.pager]
kind = "pagerduty"
routing_key = "0123456789abcdef0123456789abcdef"

[receivers.everybody]
notify = ["channel:ops"]

[receivers.pages]
notify = ["channel:pager", "channel:ops"]

[people.head]
contacts = [{channel = "ops"}]

[routing]
receiver = "everybody"
group_by = ["alertname"]
group_wait = 0
group_interval = 30
repeat_interval = 3600

[[routing.routes]]
matchers = ['severity="critical"']
receiver = "pages"

[ladders.critical]
steps = [{after_minutes = 30, notify = ["person:head"]}]

[[inhibitions]]
source = ['alertname="Database"']
target = ['alertname="Symptom"']
equal = ["cluster"]
"""
)


class Pipe:
    """What a test does with alerts, without any worker: it is the beat."""

    def fire(self, name: str = "Trouble", *, severity: str = "warning", **labels: str) -> UUID:
        """An alert begins; its id."""
        every = {"alertname": name, "severity": severity, **labels}
        row = {"id": str(ids.uuid7()), "labels": every}
        with unit_of_work() as uow:
            uow.execute(
                "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state,"
                " starts_at, fired_at) VALUES (:id, :fingerprint, :name, :severity, CAST(:labels AS jsonb),"
                " '{\"summary\": \"it hurts\"}', 'test', 'firing', now(), now())",
                id=row["id"],
                fingerprint=fingerprint(every),
                name=name,
                severity=severity,
                labels=json.dumps(every),
            )
        return UUID(str(row["id"]))

    def hear(self, kind: str, service: str, *, severity: str = "error", **facts: Any) -> list[UUID]:
        """A signal about a service comes; the episodes that it touched."""
        labels = {"service": service, "severity": severity, "kind": "tcp"}
        with unit_of_work() as uow:
            signal = signals.record(uow, kind, service, labels=labels, facts=facts)
            return raising.on_signal(uow, signal.id, handler="test")

    def end(self, *episodes: UUID) -> None:
        """Whoever raised them says that they are over."""
        self.sql(
            "UPDATE alert_episodes SET ends_at = now(), ends_explicitly = true, due_at = now() WHERE id = ANY(:ids)",
            ids=list(episodes),
        )

    def acknowledge(self, episode: UUID, minutes: float | None = None) -> None:
        with unit_of_work() as uow:
            acting.acknowledge(uow, Target("episode", episode), by="ann", minutes=minutes, now=clock.now())

    def run(self) -> dict[str, int]:
        """One pass of the tick."""
        return pipeline.run()

    def later(self, **passed: float) -> dict[str, int]:
        """Time passes, and the tick comes."""
        self.age(timedelta(**passed))
        return self.run()

    def age(self, by: timedelta) -> None:
        """Let everything have happened so much earlier."""
        for table in TABLES:
            columns = self.sql(
                "SELECT column_name FROM information_schema.columns WHERE table_name = :table"
                " AND data_type = 'timestamp with time zone'",
                table=table,
            )
            moved = ", ".join(f"{name} = {name} - make_interval(secs => :seconds)" for (name,) in columns)
            self.sql(f"UPDATE {table} SET {moved}", seconds=by.total_seconds())

    def told(self) -> list[tuple[str, str]]:
        """(reason without its number, channel) of every notification, in the order of passes and then of channels."""
        rows = self.sql("SELECT reason, channel FROM notifications ORDER BY created_at, channel")
        return [(row.reason.split("-")[0], row.channel) for row in rows]

    def messages(self) -> list[dict[str, Any]]:
        """What was told, in order."""
        return [row.message for row in self.sql("SELECT message FROM notifications ORDER BY created_at, id")]

    def episode(self, key: UUID) -> Any:
        return self.sql("SELECT * FROM alert_episodes WHERE id = :id", id=key)[0]

    def groups(self) -> Sequence[Any]:
        return self.sql("SELECT * FROM alert_groups ORDER BY id")

    def sql(self, statement: str, **parameters: Any) -> Any:
        """One statement, committed."""
        with unit_of_work() as uow:
            result = uow.execute(statement, **parameters)
            return result.all() if result.returns_rows else None

    def read(self) -> Any:
        return read_only()


@pytest.fixture
def pipe(database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """A pipeline over a fresh database under CATALOG; its channels lead nowhere, and nobody delivers."""
    use(monkeypatch, home, CATALOG)
    importlib.import_module("tasks.celery").compose()
    return Pipe()

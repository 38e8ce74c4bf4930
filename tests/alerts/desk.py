"""The delivery of notifications in a test's hands: real rows, jobs and HTTP servers; the test is the worker."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import clock
from app.alerts import delivery, failover, ledger
from app.infra import ids
from app.infra.db import unit_of_work
from app.jobs import relay, spec, worker
from app.jobs.worker import AttemptFailed, Claim
from app.notify import Event, Message, bucket
from tests.health.catalogs import tcp, use
from tests.notify.messages import FIRST
from tests.notify.servers import LOCAL, TOKEN, ChannelServer, channel_server

CATALOG = (
    tcp("shop")
    + """
[channels.chat]
kind = "telegram"
token = "{token}"
chat_id = "-1001"
base_url = "{first}"
fallback = ["slack", "hook"]
rate_per_second = 1000
burst = 1000
timeout = 2
allow = {allow}

[channels.slack]
kind = "slack"
webhook_url = "{second}/services/a/b/c"
timeout = 2
allow = {allow}

[channels.hook]
kind = "webhook"
url = "{second}/hook"
timeout = 2
allow = {allow}

[channels.narrow]
kind = "webhook"
url = "{second}/narrow"
rate_per_second = 0.1
burst = 1
timeout = 2
allow = {allow}

[channels.away]
kind = "webhook"
url = "{second}/away"
enabled = false
fallback = ["hook"]

[people.ann]
contacts = [{{channel = "chat", to = "77"}}, {{channel = "hook"}}]
"""
)
THREAD = hashlib.sha256(b"desk").hexdigest()


class Desk:
    """Notifications, their jobs, and the servers they go to."""

    def __init__(self, first: ChannelServer, second: ChannelServer) -> None:
        self.first = first
        self.second = second
        self._group: UUID | None = None

    @property
    def group(self) -> UUID:
        """A group of one firing alert."""
        if self._group is None:
            self._group = ids.uuid7()
            self.sql(
                "INSERT INTO alert_groups (id, thread, route, labels, severity, timing) VALUES"
                " (:id, :thread, 'routing', '{}', 'critical', '{}')",
                id=self._group,
                thread=THREAD,
            )
        return self._group

    def close(self) -> None:
        """It is over."""
        self.sql("UPDATE alert_groups SET closed_at = now() WHERE id = :id", id=self.group)

    def begin_anew(self) -> None:
        """What is told from now on is of another group in the thread of this one."""
        self._group = None

    def member(self, *, rule: str, subject: str) -> None:
        """The group is about this."""
        episode = ids.uuid7()
        self.sql(
            "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, rule, subject,"
            " state, starts_at) VALUES (:id, :text, :rule, 'error', '{}', '{}', 'signal', :rule, :subject, 'firing',"
            " now())",
            id=episode,
            text=str(episode),
            rule=rule,
            subject=subject,
        )
        self.sql(
            "INSERT INTO alert_group_members (group_id, episode_id) VALUES (:group, :episode)",
            group=self.group,
            episode=episode,
        )

    def tell(
        self,
        channel: str = "chat",
        *,
        to: str = "",
        event: Event = Event.FIRING,
        reason: str = "",
        severity: str = "warning",
        recipient: str = "",
        step: int = 0,
    ) -> UUID:
        """A notification with its job."""
        key = ids.uuid7()
        message = replace(FIRST, key=str(key), thread=THREAD, event=event, severity=severity, note="")
        row = {
            "id": key,
            "group_id": self.group,
            "thread": THREAD,
            "step": step,
            "recipient": recipient or f"channel:{channel}",
            "channel": channel,
            "destination": to,
            "reason": reason or str(event),
            "event": event,
            "severity": severity,
            "message": message.as_json(),
            "fact_at": clock.iso(clock.now()),
        }
        with unit_of_work() as uow:
            ledger.insert_notifications(uow, [row])
            failover.submit(uow, key)
        return key

    def job(self, notification: UUID) -> UUID:
        """The notification's job that waits or runs."""
        [row] = self.sql("SELECT id FROM jobs WHERE key = :key", key=str(notification))
        return UUID(str(row.id))

    def claim(self, notification: UUID, *, by: str = "a-worker") -> Claim | None:
        """Answer a doorbell."""
        return worker.claim(self.job(notification), worker=by)

    def attempt(self, claimed: Claim) -> AttemptFailed | None:
        """One attempt of a claimed job; how it failed, if it did."""
        body = importlib.import_module("tasks.alerts").deliver
        try:
            worker.run(claimed, spec.get(failover.TASK), body)
        except AttemptFailed as failed:
            return failed
        return None

    def work(self, notification: UUID) -> AttemptFailed | None:
        """Claim and run one attempt, now."""
        self.due(notification)
        claimed = self.claim(notification)
        assert claimed is not None
        return self.attempt(claimed)

    def due(self, notification: UUID) -> None:
        """Let its job's time have come."""
        self.sql("UPDATE jobs SET not_before = now() WHERE key = :key AND state = 'scheduled'", key=str(notification))
        relay.relay()

    def until_over(self, notification: UUID) -> int:
        """Attempts until it is over; how many."""
        attempts = 0
        while self.row(notification).state in ("waiting", "sending"):
            self.work(notification)
            attempts += 1
            assert attempts < 30
        return attempts

    def row(self, notification: UUID) -> Any:
        return self.sql("SELECT * FROM notifications WHERE id = :id", id=notification)[0]

    def rows(self) -> list[Any]:
        return list(self.sql("SELECT * FROM notifications ORDER BY id"))

    def message(self, notification: UUID) -> Message:
        return Message.from_json(self.row(notification).message)

    def jobs(self) -> list[Any]:
        """The deliveries that wait or run."""
        return list(self.sql("SELECT * FROM jobs WHERE task = :task ORDER BY id", task=failover.TASK))

    def history(self) -> list[str]:
        return [row.event for row in self.sql("SELECT event FROM alert_history ORDER BY id")]

    def signals(self) -> list[tuple[str, str]]:
        rows = self.sql("SELECT kind, subject FROM signals WHERE kind LIKE 'notify.%' ORDER BY id")
        return [(row.kind, row.subject) for row in rows]

    def lapse(self, notification: UUID) -> None:
        """The worker that holds its job has died, and the relay has seen it."""
        self.sql("UPDATE jobs SET lease_until = now() - interval '1 minute' WHERE key = :key", key=str(notification))
        relay.relay()

    def sql(self, statement: str, **parameters: Any) -> Any:
        """One statement, committed."""
        with unit_of_work() as uow:
            result = uow.execute(statement, **parameters)
            return result.all() if result.returns_rows else None


def worker_process(jobs: Sequence[UUID], log: Path) -> subprocess.Popen[bytes]:
    """A process of its own that claims each of these jobs, and runs what it got."""
    code = (
        "import sys\n"
        "from uuid import UUID\n"
        "from tasks.celery import compose\n"
        "compose()\n"
        "from app.jobs import spec, worker\n"
        "from tasks.alerts import deliver\n"
        "for job in sys.argv[1:]:\n"
        "    claimed = worker.claim(UUID(job), worker='process')\n"
        "    if claimed is not None:\n"
        "        worker.run(claimed, spec.get(claimed.task), deliver)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, jobs)], env=environment, stdout=output, stderr=output
        )


def texts(server: ChannelServer) -> list[str]:
    """The bodies a server got."""
    return [request.body.decode() for request in server.requests]


@pytest.fixture
def desk(database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Channels `chat` (first server), `slack`, `hook`, `narrow` (second server) and `away`, which is switched off."""
    monkeypatch.setattr(relay, "patience", relay.Patience(wait_seconds=0))
    monkeypatch.setattr(delivery, "REST_SECONDS", 0.0)  # tries follow one another at once here
    bucket.forget()
    with channel_server() as first, channel_server() as second:
        text = CATALOG.format(token=TOKEN, first=first.base, second=second.base, allow=json.dumps(LOCAL))
        use(monkeypatch, home, text)
        importlib.import_module("tasks.celery").compose()
        yield Desk(first, second)
    bucket.forget()

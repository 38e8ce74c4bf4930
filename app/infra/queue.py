"""The one file of `app` that knows Celery: messages are published by task name, and queues measured and emptied.

Messages are written in Celery's protocol 2 as kombu's Redis transport stores them, a whole batch in one round trip:
through kombu's producer a doorbell costs twenty times as much. Publishing never hangs a caller: time-outs of a second,
no retry, and a circuit breaker. What could not be published stays in Postgres, and the relay rings it later.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app import clock
from app.config import settings
from app.errors import SmmError
from app.infra import metrics, redis
from app.infra.logging import get_logger

PRIORITY_STEPS = (0, 3, 6, 9)
"""Kombu keeps one Redis list per step and queue; 0 is taken first."""

SENT_AT = "sent_at"
"""Message header: seconds since 1970 at which the message was published."""

_SEPARATOR = "\x06\x16"
_TIMEOUT_SECONDS = 1.0
_BREAKER_SECONDS = 2.0
_BATCH = 200

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Doorbell:
    """What a job's message holds: everything else is read from the job's row."""

    job_id: str
    task: str
    queue: str
    priority: int


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Messages waiting in one queue over all priorities, and the age of the oldest that says when it was sent."""

    depth: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class _Outgoing:
    bell: Doorbell
    kwargs: Mapping[str, Any]
    expires: timedelta | None = None


class _Publisher:
    """A client of the broker and its circuit breaker. One per process; threads share it."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.connect(url, timeout_seconds=_TIMEOUT_SECONDS)
        self._origin = f"{os.getpid()}@{os.uname().nodename}"
        self._open_until = 0.0

    def send(self, messages: Sequence[_Outgoing]) -> int:
        """Publish in batches until the first failure; how many went for certain. Never raises, never waits long."""
        sent = 0
        if clock.monotonic() < self._open_until:
            return sent
        try:
            with redis.transient_errors():
                for start in range(0, len(messages), _BATCH):
                    sent += self._push(messages[start : start + _BATCH])
        except SmmError as error:
            self._open_until = clock.monotonic() + _BREAKER_SECONDS
            log.warning("messages not published; the relay will ring again", error=str(error))
        return sent

    def _push(self, messages: Sequence[_Outgoing]) -> int:
        pipe = self._client.pipeline(transaction=False)
        for message in messages:
            bell = message.bell
            pipe.lpush(_list_key(bell.queue, bell.priority), _encode(message, self._origin))
        pipe.execute()
        return len(messages)


def _encode(message: _Outgoing, origin: str) -> str:
    """https://docs.celeryq.dev/en/stable/internals/protocol.html (version 2), in kombu's virtual-transport envelope."""
    bell, now = message.bell, clock.now()
    body = [[], dict(message.kwargs), {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    headers = {
        "lang": "py",
        "task": bell.task,
        "id": bell.job_id,
        "root_id": bell.job_id,
        "parent_id": None,
        "group": None,
        "shadow": None,
        "eta": None,
        "expires": (now + message.expires).isoformat() if message.expires else None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": repr(dict(message.kwargs)),
        "origin": origin,
        "ignore_result": True,
        SENT_AT: now.timestamp(),
    }
    properties = {
        "correlation_id": bell.job_id,
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": bell.queue},
        "priority": bell.priority,
        "body_encoding": "base64",
        "delivery_tag": str(uuid.uuid4()),
    }
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    )


def _list_key(queue: str, priority: int) -> str:
    step = max((step for step in PRIORITY_STEPS if step <= priority), default=PRIORITY_STEPS[0])
    return redis.PREFIX + (queue if step == 0 else f"{queue}{_SEPARATOR}{step}")


_publisher: _Publisher | None = None
_publisher_lock = threading.Lock()


def _get_publisher() -> _Publisher:
    global _publisher
    with _publisher_lock:
        if _publisher is None:
            _publisher = _Publisher(settings().redis())
        return _publisher


def after_fork() -> None:
    """In a forked child: publish through connections of our own."""
    global _publisher, _publisher_lock
    _publisher_lock = threading.Lock()
    _publisher = None


def ring(bells: Sequence[Doorbell], *, again: bool = False) -> int:
    """Publish doorbells; how many went. Their Celery id is the job's id, so Flower shows a job's life as one."""
    sent = _get_publisher().send([_Outgoing(bell, {"job_id": bell.job_id}) for bell in bells])
    for place, bell in enumerate(bells):
        outcome = "failed" if place >= sent else "rung_again" if again else "rung"
        metrics.DOORBELLS.inc(queue=bell.queue, outcome=outcome)
    return sent


def send(
    task: str,
    *,
    queue: str,
    kwargs: Mapping[str, Any] | None = None,
    expires: timedelta,
    task_id: str,
) -> bool:
    """Publish a plain message, which may be lost or run twice; False when the broker did not take it."""
    bell = Doorbell(job_id=task_id, task=task, queue=queue, priority=PRIORITY_STEPS[1])
    return _get_publisher().send([_Outgoing(bell, kwargs or {}, expires)]) == 1


def list_keys(queue: str) -> list[str]:
    """The Redis lists that hold a queue's messages, first taken first."""
    return [_list_key(queue, step) for step in PRIORITY_STEPS]


_names: tuple[str, ...] = ()


def configure(names: Iterable[str]) -> None:
    """Say which queues there are (composition: the timetable's QUEUES)."""
    global _names
    _names = tuple(names)


def names() -> tuple[str, ...]:
    """Every queue of the product."""
    return _names


def depths() -> dict[str, QueueDepth]:
    """Each queue's waiting messages, in one round trip. Raises Transient when Redis does not answer in a second."""
    now = clock.now().timestamp()
    with redis.transient_errors():
        pipe = redis.client().pipeline(transaction=False)
        for name in _names:
            for key in list_keys(name):
                pipe.llen(key)
                pipe.lindex(key, -1)
        answers = pipe.execute()
    per_queue = 2 * len(PRIORITY_STEPS)
    return {
        name: _depth(answers[place * per_queue : (place + 1) * per_queue], now) for place, name in enumerate(_names)
    }


def _depth(answers: Sequence[Any], now: float) -> QueueDepth:
    sent = [moment for message in answers[1::2] if message and (moment := _sent_at(message)) is not None]
    return QueueDepth(depth=sum(answers[0::2]), oldest_seconds=max(0.0, now - min(sent)) if sent else None)


def _sent_at(message: str) -> float | None:
    try:
        moment = json.loads(message)["headers"][SENT_AT]
    except (ValueError, KeyError, TypeError):
        return None  # a foreign producer's message carries no such header
    return float(moment) if isinstance(moment, int | float) else None


def unacked() -> int:
    """Messages that workers hold and have not acknowledged, over all queues."""
    with redis.transient_errors():
        return int(redis.client().hlen(redis.PREFIX + "unacked"))


def purge(queue: str) -> int:
    """Delete a queue's waiting messages; how many there were. Jobs are the ledger's business, not ours."""
    with redis.transient_errors():
        pipe = redis.client().pipeline(transaction=True)
        for key in list_keys(queue):
            pipe.llen(key)
            pipe.delete(key)
        return int(sum(pipe.execute()[0::2]))

"""What happens when a worker, its children and beat start and stop. Imported by Celery processes only."""

from __future__ import annotations

import gc
import json
import os
from typing import Any

from celery import bootsteps, signals

from app import __version__, clock
from app.config import settings
from app.errors import Misconfigured, SmmError
from app.infra import db, logging, metrics, migrate, queue, redis
from app.infra.heartbeat import BrokerVigil, Heartbeat
from app.jobs import lease, store
from tasks.celery import celery, compose

CHILD_POOL_SIZE = 2
"""Connections of a worker child: one for the task, one for its lease."""

_PRESENCE_SECONDS = 10.0
_FORGET_AFTER_SECONDS = 3600.0

log = logging.get_logger(__name__)


@signals.setup_logging.connect
def _logging(**_: Any) -> None:
    logging.configure(settings().process or "celery")


@signals.celeryd_init.connect
def _refuse_old_schema(**_: Any) -> None:
    """An old schema stops a worker with one clear sentence; a database that is away does not."""
    try:
        migrate.require_current()
    except Misconfigured as error:
        raise SystemExit(f"smm-admin: {error}") from None
    except SmmError as error:
        log.warning("starting although the database does not answer", error=str(error))
    finally:
        db.dispose()


@signals.worker_process_init.connect
def _child_starts(**_: Any) -> None:
    logging.configure(settings().process or "celery")
    db.after_fork(pool_size=CHILD_POOL_SIZE)
    redis.after_fork()
    queue.after_fork()
    lease.after_fork()
    metrics.after_fork()
    metrics.start_flusher()


@signals.worker_process_shutdown.connect
def _child_stops(**_: Any) -> None:
    metrics.stop_flusher()
    db.dispose()


@signals.task_unknown.connect
def _unknown_task(name: str = "", **_: Any) -> None:
    """A doorbell of a task that our code does not have: its job waits, rung again, for a worker that has it."""
    try:
        with db.unit_of_work() as uow:
            message = f"a worker got a job of {name}, which its code does not have: deploy it, or cancel the job"
            store.notice(uow, f"unknown-task:{name}", message)
    except SmmError as error:
        log.warning("a task is unknown here", name=name, error=str(error))


class Presence(bootsteps.StartStopStep):  # type: ignore[misc]
    """In the worker's main process: touches its heartbeat file and says in Redis who is here and for which queues.

    It runs on the worker's own event loop, so a loop that hangs falls silent; unless it waits for the broker.
    """

    requires = frozenset({"celery.worker.components:Timer"})

    def __init__(self, worker: Any, **_: Any) -> None:
        self._worker = worker
        self._heartbeat = Heartbeat(str(worker.hostname).partition("@")[0])
        self._vigil = BrokerVigil(self._heartbeat)
        self._next_presence = 0.0
        self._entry: Any = None

    def start(self, worker: Any) -> None:
        """Begin to be seen."""
        self._entry = worker.timer.call_repeatedly(5.0, self._beat, priority=10)
        self._beat()
        self._vigil.start()

    def stop(self, worker: Any) -> None:
        """Be gone at once rather than after the silence that others wait for."""
        self._vigil.stop()
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
        self._say(lambda client: client.hdel(redis.WORKERS_KEY, worker.hostname))

    def _beat(self) -> None:
        self._heartbeat.touch()
        if clock.monotonic() >= self._next_presence:
            self._next_presence = clock.monotonic() + _PRESENCE_SECONDS
            self._say(self._present)

    def _present(self, client: Any) -> None:
        now = clock.now().timestamp()
        here = {
            "at": now,
            "queues": sorted(queue_.name for queue_ in self._worker.app.amqp.queues.consume_from.values()),
            "pid": os.getpid(),
            "host": os.uname().nodename,
            "concurrency": self._worker.concurrency,
            "version": __version__,
        }
        client.hset(redis.WORKERS_KEY, self._worker.hostname, json.dumps(here))
        for name, value in client.hgetall(redis.WORKERS_KEY).items():
            if now - json.loads(value)["at"] > _FORGET_AFTER_SECONDS:
                client.hdel(redis.WORKERS_KEY, name)

    def _say(self, action: Any) -> None:
        try:
            with redis.transient_errors():
                action(redis.client())
        except SmmError as error:
            log.debug("presence not said", error=str(error))


compose()
gc.freeze()  # children share these pages with their worker as long as nobody writes to them
celery.steps["worker"].add(Presence)

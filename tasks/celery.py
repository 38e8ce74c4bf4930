"""The Celery application, found by `celery -A tasks`, and the place where the layers are put together."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from celery import Celery

import celeryconfig
from app import catalog, signals
from app.admission import holds, queues
from app.alerts import actions as alert_actions
from app.catalog import COUNTER
from app.config import settings
from app.costs import agreeing, crossed, in_force
from app.health import accounts
from app.infra import metrics, queue
from app.infra.db import UnitOfWork
from app.jobs import hooks, schedule
from app.limits import budgets, crossings, rebuild
from app.recovery import told
from app.recovery.checks import CHECKS
from app.tokens import standing

celery = Celery("smm-admin", set_as_current=True)
celery.config_from_object("celeryconfig")
celery.add_defaults(lambda: {"broker_url": settings().redis()})

_NOT_TASKS = ("base", "beat", "celery", "flower", "flowerconfig", "lifecycle")


def compose() -> None:
    """Hand each layer the tables and callbacks it was built to be given, and import every task."""
    for check in CHECKS:
        catalog.use_check(check)
    queue.configure(celeryconfig.QUEUES)
    schedule.configure(celeryconfig.BEAT, celeryconfig.queue_of)
    signals.configure(celeryconfig.SUBSCRIPTIONS)
    hooks.on_dead(_record_death)
    alert_actions.use(told.actions_of)
    rebuild.on_loss(holds.write_all)
    rebuild.on_loss(queues.mark_all)
    rebuild.money_from(agreeing.committed_of)
    budgets.configure(in_force.read)
    crossings.hand_over(COUNTER, crossed.on_crossings)
    accounts.use(standing.look)
    package = importlib.import_module("tasks")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _NOT_TASKS:
            importlib.import_module(f"tasks.{module.name}")
    for name in settings().task_modules:
        importlib.import_module(name)
    metrics.know("task", importlib.import_module("tasks.base").names())


def _record_death(uow: UnitOfWork, job: hooks.DeadJob) -> None:
    facts: dict[str, Any] = {"job": str(job.id), "attempts": job.attempt, "reason": job.reason, **job.error}
    signals.record(uow, "jobs.dead", f"task:{job.task}", labels={"queue": job.queue, "task": job.task}, facts=facts)


__all__ = ["celery", "compose"]

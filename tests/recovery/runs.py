"""Runs for tests: a restart and a probe, and what may be changed about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.infra import ids
from app.recovery.core import Effect, Run, Runner, StepRun
from app.recovery.playbooks import SIGNAL

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def step(place: int = 0, action: str = "restart_container", effect: Effect = Effect.RESTART, **more: Any) -> StepRun:
    return StepRun(place=place, action=action, effect=effect, says=f"{action} of step {place}", **more)


def probe(place: int, *, after: float = 30) -> StepRun:
    return step(place, "probe", Effect.NONE, after_seconds=after)


def run_of(*steps: StepRun, **more: Any) -> Run:
    made = Run(
        id=ids.uuid7(T0),
        playbook="service-restart",
        service="qdrant",
        kind="http",
        severity="error",
        essential=False,
        runner=Runner.ENGINE,
        started_by=SIGNAL,
        created_at=T0,
        steps=steps or (step(), probe(1)),
        due_at=T0,
    )
    return replace(made, **more)


JOB = UUID(int=7)

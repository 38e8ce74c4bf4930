"""Pauses as tests set them: each in a transaction of its own."""

from __future__ import annotations

from typing import Any

from app import clock
from app.admission import pauses
from app.admission.pause_store import Pause
from app.infra import redis
from app.infra.db import read_only, unit_of_work
from app.limits import keys


def pause(scope: str, *, by: str = "person:ann", reason: str = "because", **more: Any) -> Pause:
    with unit_of_work() as uow:
        return pauses.set_pause(uow, scope, by=by, reason=reason, now=clock.now(), **more)


def lift(scope: str, *, by: str = "person:ann", **more: Any) -> list[Pause]:
    with unit_of_work() as uow:
        return pauses.lift(uow, scope, by=by, now=clock.now(), **more)


def open_pauses(scope: str | None = None) -> list[Pause]:
    with read_only() as session:
        return pauses.read(session, scope)


def mirrored() -> dict[str, list[str]]:
    """The hash of holds: scope → its lines."""
    return {scope: text.split("\n") for scope, text in redis.client().hgetall(keys.HOLDS).items()}

"""Upward calls, given at composition: who is told in the same transaction that a job died."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.infra.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job nobody will try again by itself."""

    id: UUID
    task: str
    queue: str
    attempt: int
    reason: str
    error: dict[str, Any]


_on_dead: list[Callable[[UnitOfWork, DeadJob], None]] = []


def on_dead(listener: Callable[[UnitOfWork, DeadJob], None]) -> None:
    """Call `listener` inside the transaction in which a job dies."""
    if listener not in _on_dead:
        _on_dead.append(listener)


def tell_dead(uow: UnitOfWork, job: DeadJob) -> None:
    """Call every listener."""
    for listener in _on_dead:
        listener(uow, job)

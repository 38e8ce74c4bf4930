"""Queues of operations that wait."""

from __future__ import annotations

from app.infra.db import UnitOfWork


def wake(uow: UnitOfWork, scope: str) -> None:
    """Look at the queues of a scope now."""
    raise NotImplementedError

"""Tokens that callers say are refused: each is asked about."""

from __future__ import annotations

from uuid import UUID

from app.tokens import noticing
from tasks.base import JobContext, job


@job("tasks.tokens.on_platform_error", max_attempts=4)
def on_platform_error(_ctx: JobContext, *, signal_id: UUID) -> None:
    """Ask the platform whether it accepts the token; a dead one is declared dead, and its owner told."""
    noticing.follow(signal_id)

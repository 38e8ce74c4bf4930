"""Tokens: whatever is due is handed out by a tick; one job looks at one token."""

from __future__ import annotations

from uuid import UUID

from app.tokens import attending, sweeping
from tasks.base import JobContext, job, tick


@tick("tasks.tokens.sweep")
def sweep() -> None:
    """Hand out the tokens that are due, and look at all of a time zone when its hour has come."""
    sweeping.sweep()


@job(sweeping.ATTEND)
def attend(_ctx: JobContext, *, account_id: UUID, by: str = "schedule", force: bool = False) -> None:
    """Look at one token; refresh it where that is due, or where a person wants it."""
    attending.attend(account_id, by=by, force=force)


@job(sweeping.CHECK, max_attempts=3)
def check(_ctx: JobContext, *, account_id: UUID, by: str = "schedule") -> None:
    """Ask the platform whether it accepts a token; one that it refuses is refreshed, or its owner told."""
    attending.check(account_id, by=by)

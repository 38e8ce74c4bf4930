"""Keys of tokens: everything is sealed anew under the newest one, and what is missing is noticed in time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app import clock, jobs
from app.infra.logging import get_logger
from app.tokens import keys_in_use, rewrapping
from tasks.base import JobContext, job

SECONDS = 60.0
"""Of one step: a longer run goes on in a job of its own."""

log = get_logger(__name__)


@job(rewrapping.REWRAP)
def rewrap(
    ctx: JobContext,
    *,
    by: str = "rewrap",
    after: UUID = rewrapping.START,
    rewrapped: int = 0,
    unreadable: int = 0,
) -> None:
    """Seal anew whatever is sealed under another key than the newest; what does not open is counted and left."""
    ends = clock.monotonic() + SECONDS

    def is_over() -> bool:
        ctx.raise_if_cancelled()
        return clock.monotonic() > ends

    done = rewrapping.run(by=by, after=after, until=is_over)
    for one in done.stuck:
        log.warning("a token does not open", account=one.account, key=one.key_id, why=one.reason, part=one.part)
    found = done.document() | {"unreadable": [one.document() for one in done.stuck[:20]]}
    rewrapped += done.accounts
    unreadable += done.stuck_count
    with ctx.complete(found | {"rewrapped_so_far": rewrapped, "finished": done.after is None}) as uow:
        if done.after is not None:
            jobs.submit(
                uow,
                rewrapping.REWRAP,
                key=rewrapping.REWRAP,
                by=by,
                after=str(done.after),
                rewrapped=rewrapped,
                unreadable=unreadable,
            )


@job(keys_in_use.LOOK)
def look_at_keys(_ctx: JobContext) -> dict[str, Any]:
    """Notice a key that is missing or wrong before its tokens are due."""
    return {"missing": keys_in_use.watch(clock.now())}

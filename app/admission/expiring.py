"""Operations whose time is up while they wait are dropped, also where their queue has nothing to release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from app import clock, signals
from app.admission import deferral_store
from app.catalog import CLASSES
from app.infra import metrics
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.logging import get_logger

EXPIRED = "admission.expired"

MOST = 2000
"""Operations that are dropped in one pass; the next one follows a second later."""
OF_ONE = 500
"""Of them, in one transaction."""

log = get_logger(__name__)


def expire_due(*, until: float) -> int:
    """Drop what waits for nothing any more, up to a moment of the monotonic clock; how many.

    A transaction for each account. A queue that somebody else holds is left to the next pass; an operation whose queue
    is gone, which nobody looks at, has one again.
    """
    dropped, accounts = 0, deferral_store.expired(MOST)
    if accounts:
        with unit_of_work() as uow:
            deferral_store.make_queues(uow, accounts)
    for account in accounts:
        if clock.monotonic() >= until:
            break
        dropped += _expire(account)
    return dropped


def _expire(account: str) -> int:
    with unit_of_work() as uow:
        if deferral_store.lock(uow, account, wait=False) is None:
            return 0
        rows = deferral_store.expire(uow, account, most=OF_ONE)
        if rows:
            deferral_store.left(uow, account, ranks_of(rows))
            tell(uow, EXPIRED, account, rows)
    return len(rows)


def tell(uow: UnitOfWork, kind: str, account: str, rows: Sequence[Any], **facts: Any) -> None:
    """Operations of an account will not be done: one signal with their numbers."""
    operations = dict(sorted(Counter(row.operation for row in rows).items()))
    signals.record(
        uow,
        kind,
        f"account:{account}",
        labels={"platform": account.partition("/")[0]},
        facts={"account": account, "count": len(rows), "operations": operations, **facts},
    )
    outcome = kind.rpartition(".")[2]
    uow.after_commit(lambda: metrics.RELEASES.inc(len(rows), outcome=outcome))
    log.warning("operations that waited will not be done", kind=kind, account=account, operations=operations)


def ranks_of(rows: Sequence[Any]) -> list[int]:
    """How many of each rank."""
    counts = Counter(row.rank for row in rows)
    return [counts[rank] for rank in range(len(CLASSES))]

"""Queues of accounts whose operations wait: who waits, looking at them now, and telling newcomers after a loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog
from app.admission import deferral_store, marking, operations
from app.admission.release_core import lanes_after
from app.catalog import CLASSES
from app.infra.db import UnitOfWork, read_only
from app.infra.logging import get_logger

BATCH = 2000
"""Rows that are read, and queues that are marked, at a time."""

log = get_logger(__name__)


def wake(uow: UnitOfWork, *scopes: str) -> None:
    """Look at the queues of these scopes now: all, platform:P, tenant:T, account:P/A, operation:O, service:S.

    Call it when what held them is gone from Redis. All scopes in one call: queues are locked in order.
    """
    named: dict[str, list[str]] = defaultdict(list)
    for scope in scopes:
        kind, _, name = scope.partition(":")
        named[kind].append(name)
    known = catalog.current().limiting.operations if named["service"] else {}
    needing = [one.name for one in known.values() if set(one.requires) & set(named["service"])]
    deferral_store.wake(
        uow,
        everybody="all" in named,
        platforms=named["platform"],
        accounts=named["account"],
        tenants=named["tenant"],
        operations=[*named["operation"], *needing],
    )


def waiting(session: Session, lines: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many operations wait, by class, in the queues of these accounts (`PLATFORM/NAME`); without those of none."""
    query = text("SELECT account, waiting FROM deferral_queues WHERE account = ANY(:lines)")
    rows = session.execute(query, {"lines": list(lines)})
    return {row.account: dict(zip(CLASSES, row.waiting, strict=True)) for row in rows if any(row.waiting)}


def mark_all() -> None:
    """After a loss of Redis: say again for what all queues wait. Raises Transient.

    Nothing is decided meanwhile, and no lock is taken: whoever noticed the loss may hold one of the queues.
    """
    known = {name: lanes_of_all(one) for name, one in operations.every().items()}
    marked, after = 0, ("", "")
    while True:
        with read_only() as session:
            rows = deferral_store.everything_waiting(session, after=after, limit=BATCH)
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for row in rows:
            found[row.account][row.operation] = row.rank
        marking.mark({account: lanes_after(ranks, {}, known) for account, ranks in found.items()}, whole=False)
        _unmark_gone(sorted(found))
        marked += len(found)
        if len(rows) < BATCH:
            log.info("newcomers wait again behind those who waited before Redis was lost", queues=marked)
            return
        after = (rows[-1].account, rows[-1].operation)


def lanes_of_all(one: operations.Known) -> frozenset[str]:
    """All that an operation may ever wait for."""
    return frozenset({one.operation.name, *one.operation.consumes})


def _unmark_gone(accounts: Sequence[str]) -> None:
    """A queue that was emptied between our reading and our marking: nobody else would ever clear its lanes."""
    with read_only() as session:
        query = text("SELECT account FROM deferral_queues WHERE account = ANY(:accounts)")
        there = set(session.execute(query, {"accounts": list(accounts)}).scalars())
    marking.mark({account: {} for account in accounts if account not in there}, whole=True)

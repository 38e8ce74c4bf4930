"""What pages read of limits is found in an index, however many accounts there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.infra.db import engine, read_only
from app.limits import reading
from tests.limits.conftest import Keeper

MANY = 30_000


@pytest.fixture
def crowd(keeper: Keeper) -> Keeper:
    """Many accounts that used the same share of a limit, in this hour and in the one before."""
    keeper.sql(
        "INSERT INTO limit_windows (subject, limit_name, start_at, end_at, capacity, used, share, taken_at)"
        " SELECT 'account:demo/' || n, 'calls', now(), now() + interval '1 hour', 100, 100, 1, now()"
        " FROM generate_series(1, :n) n",
        n=MANY,
    )
    keeper.sql(
        "INSERT INTO rate_limit_log"
        ' (id, subject, limit_name, start_at, end_at, capacity, used, peak, refused, deferred, "full")'
        " SELECT gen_random_uuid(), 'account:demo/' || n, 'calls', now() - interval '2 hours',"
        " now() - interval '1 hour', 100, 100, 100, 0, 0, true FROM generate_series(1, :n) n",
        n=MANY,
    )
    keeper.sql("ANALYZE limit_windows, rate_limit_log")
    return keeper


def rows_sorted(read: Callable[[Session], Any]) -> int:
    """Of what is read, the most rows that any step has to put in order."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _u: Any, statement: str, values: Any, *_: Any) -> None:
        asked.append((statement, values))

    with read_only() as session:
        event.listen(engine(), "before_cursor_execute", note)
        read(session)
        event.remove(engine(), "before_cursor_execute", note)
        [(statement, values)] = asked
        explained = "EXPLAIN (ANALYZE, FORMAT JSON) " + statement
        [(plan,)] = session.connection().exec_driver_sql(explained, values).all()
    return most_sorted(plan[0]["Plan"])


def most_sorted(step: dict[str, Any]) -> int:
    below = step.get("Plans", [])
    own = sum(each["Actual Rows"] for each in below) if "Sort" in step["Node Type"] else 0
    return max([int(own), *map(most_sorted, below)])


@pytest.mark.parametrize(
    "read",
    [
        lambda session: reading.windows(session, limit_name="calls", limit=50),
        lambda session: reading.history(session, limit=50),
        lambda session: reading.history(session, limit_name="calls", limit=50),
        lambda session: reading.history(session, subject="account:demo/77", limit=50),
    ],
    ids=["open", "closed", "closed of a limit", "closed of an account"],
)
def test_nobody_puts_all_accounts_in_order_to_show_some(crowd: Keeper, read: Callable[[Session], Any]) -> None:
    assert rows_sorted(read) <= 100

"""The SQL of queues and of the operations in them. Nothing here commits, and times are the database's.

Who joins, leaves or releases holds the queue's row: so `seq` is in the order of the commits, and counts are exact.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.infra.db import UnitOfWork, execute_once

_MISSING = """
    SELECT l.account FROM unnest(CAST(:accounts AS text[])) AS l(account)
     WHERE NOT EXISTS (SELECT 1 FROM deferral_queues q WHERE q.account = l.account) ORDER BY 1"""

_MAKE = """
    INSERT INTO deferral_queues (account, next_try_at)
    SELECT account, now() + interval '1 second' FROM unnest(CAST(:accounts AS text[])) AS l(account) ORDER BY account
    ON CONFLICT DO NOTHING"""


def make_queues(uow: UnitOfWork, accounts: Sequence[str]) -> None:
    """Let there be a queue for each account, in a transaction of its own.

    So whatever becomes of the caller's, somebody will look at the queue, and find it empty.
    """
    missing = list(uow.execute(_MISSING, accounts=sorted(accounts)).scalars())
    if missing:
        execute_once(_MAKE, accounts=missing)


_LOCK_MANY = """
    INSERT INTO deferral_queues (account, next_try_at)
    SELECT account, now() + interval '1 second' FROM unnest(CAST(:accounts AS text[])) AS l(account) ORDER BY account
    ON CONFLICT (account) DO UPDATE SET account = excluded.account
    RETURNING account, waiting"""


def lock_queues(uow: UnitOfWork, accounts: Sequence[str]) -> dict[str, list[int]]:
    """Hold these queues, in order of account, until the transaction ends; how many wait in each, by rank."""
    rows = uow.execute(_LOCK_MANY, accounts=sorted(accounts))
    return {row.account: list(row.waiting) for row in rows}


_KNOWN = """
    SELECT d.account, d.request_id, d.id, d.operation, d.state, d.job_id, d.rank, d.seq
      FROM unnest(CAST(:accounts AS text[]), CAST(:request_ids AS text[])) AS w(account, request_id)
      JOIN deferred_operations d ON d.account = w.account AND d.request_id = w.request_id"""


def known(uow: UnitOfWork, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """Those of these accounts' ids that wait or waited."""
    rows = uow.execute(_KNOWN, accounts=[account for account, _ in ids], request_ids=[each for _, each in ids])
    return {(row.account, row.request_id): row for row in rows}


_INSERT = """
    INSERT INTO deferred_operations
           (id, account, tenant, who, operation, rank, request_id, estimate, task, caller, reason, created_at,
            expires_at)
    SELECT id, account, tenant, who, operation, rank, request_id, estimate, task, caller, reason, clock_timestamp(),
           expires_at
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(place int, id uuid, account text, tenant text, who jsonb,
           operation text, rank smallint, request_id text, estimate bigint, task jsonb, caller text, reason text,
           expires_at timestamptz)
     ORDER BY place"""


def insert(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> None:
    """Operations wait from now on, in the order given."""
    uow.execute(_INSERT, rows=json.dumps(rows, default=str))


_JOINED = """
    UPDATE deferral_queues q
       SET waiting = ARRAY[q.waiting[1] + j.w0, q.waiting[2] + j.w1, q.waiting[3] + j.w2, q.waiting[4] + j.w3],
           next_try_at = least(q.next_try_at, clock_timestamp() + make_interval(secs => j.wait))
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS j(account text, w0 int, w1 int, w2 int, w3 int, wait float8)
     WHERE q.account = j.account"""


def joined(uow: UnitOfWork, counts: Mapping[str, Sequence[int]], waits: Mapping[str, timedelta]) -> None:
    """So many more wait in these queues, by rank; and after how long they are worth a look."""
    rows = [
        {"account": account, "w0": w0, "w1": w1, "w2": w2, "w3": w3, "wait": waits[account].total_seconds()}
        for account, (w0, w1, w2, w3) in counts.items()
    ]
    uow.execute(_JOINED, rows=json.dumps(rows))


_DUE = """
    SELECT account FROM (SELECT account, last_release_at FROM deferral_queues WHERE next_try_at <= now()
                          ORDER BY next_try_at LIMIT :most) AS due
     ORDER BY last_release_at NULLS FIRST, account"""


def due(most: int) -> list[str]:
    """The queues that have been due for longest, first those to which nothing was given for longest."""
    return [row.account for row in execute_once(_DUE, most=most)]


def count() -> int:
    """How many queues there are, counted up to 100,000."""
    [row] = execute_once("SELECT count(*) AS total FROM (SELECT 1 FROM deferral_queues LIMIT 100000) AS q")
    return int(row.total)


_LOCK_DUE = """
    SELECT waiting, in_flight, last_release_at FROM deferral_queues
     WHERE account = :account AND next_try_at <= now() FOR UPDATE"""


def lock_due(uow: UnitOfWork, account: str, *, patience: timedelta | None) -> Any | None:
    """Hold a queue that is due; None when it is not any more, or (without patience) when somebody else holds it.

    Raises Transient when patience is over.
    """
    if patience is None:
        return uow.execute(f"{_LOCK_DUE} SKIP LOCKED", account=account).one_or_none()
    uow.execute(f"SET LOCAL lock_timeout = {round(patience.total_seconds() * 1000)}")
    return uow.execute(_LOCK_DUE, account=account).one_or_none()


def lock(uow: UnitOfWork, account: str, *, wait: bool = True) -> Any | None:
    """Hold a queue; None where there is none, or (without `wait`) when somebody else holds it."""
    how = "FOR UPDATE" if wait else "FOR UPDATE SKIP LOCKED"
    return uow.execute(f"SELECT 1 FROM deferral_queues WHERE account = :account {how}", account=account).first()


def clock_and_job(uow: UnitOfWork, job_id: UUID | None) -> tuple[datetime, bool]:
    """The database's clock now, and whether that job is unfinished."""
    query = "SELECT clock_timestamp() AS now, EXISTS (SELECT 1 FROM jobs WHERE id = :id) AS busy"
    row = uow.execute(query, id=job_id).one()
    return row.now, row.busy


# The names are found one after another in the index, however many rows each of them has.
_OPERATIONS = """
    WITH RECURSIVE found AS (
      (SELECT operation FROM deferred_operations WHERE account = :account AND state = 'waiting'
        ORDER BY operation LIMIT 1)
      UNION ALL
      SELECT (SELECT d.operation FROM deferred_operations d WHERE d.account = :account AND d.state = 'waiting'
                 AND d.operation > found.operation ORDER BY d.operation LIMIT 1)
        FROM found WHERE found.operation IS NOT NULL
    )
    SELECT found.operation, (SELECT d.rank FROM deferred_operations d WHERE d.account = :account
                AND d.state = 'waiting' AND d.operation = found.operation ORDER BY d.rank LIMIT 1) AS rank
      FROM found WHERE found.operation IS NOT NULL"""


def waiting_operations(uow: UnitOfWork, account: str) -> dict[str, int]:
    """The names of the operations that wait in a queue, each with its most urgent rank."""
    return {row.operation: row.rank for row in uow.execute(_OPERATIONS, account=account)}


_HEADS = """
    SELECT d.* FROM unnest(CAST(:operations AS text[])) AS o(operation) CROSS JOIN LATERAL (
      SELECT id, seq, tenant, who, operation, rank, request_id, estimate, task, caller,
             expires_at <= now() AS is_expired, operation || ' ' || coalesce(who::text, '') AS kind
        FROM deferred_operations
       WHERE account = :account AND state = 'waiting' AND operation = o.operation
         AND (operation || ' ' || coalesce(who::text, '')) <> ALL (CAST(:stay AS text[]))
       ORDER BY rank, seq LIMIT :limit) AS d
     ORDER BY d.rank, d.seq LIMIT :limit"""


def heads(
    uow: UnitOfWork, account: str, operations: Sequence[str], *, limit: int, stay: Collection[str] = ()
) -> list[Any]:
    """The first of a queue that are of these operations, in order. `stay`: kinds (operation, for whom) that do."""
    return list(uow.execute(_HEADS, account=account, operations=list(operations), limit=limit, stay=list(stay)))


_END = """
    UPDATE deferred_operations d
       SET state = e.state, reason = coalesce(e.reason, d.reason), ended_at = coalesce(e.at, clock_timestamp()),
           ended_by = :by, job_id = e.job_id
      FROM jsonb_to_recordset(CAST(:rows AS jsonb))
           AS e(id uuid, state text, reason text, at timestamptz, job_id uuid)
     WHERE d.id = e.id AND d.state = 'waiting'"""


def end(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]], *, by: str) -> None:
    """They wait no more: id, state, and where there is one the reason, the moment and the job."""
    uow.execute(_END, rows=json.dumps(rows, default=str), by=by)


_EXPIRED = """
    SELECT DISTINCT account FROM (
      SELECT account FROM deferred_operations WHERE state = 'waiting' AND expires_at <= now()
       ORDER BY expires_at LIMIT :most) AS over
     ORDER BY account"""


def expired(most: int) -> list[str]:
    """Accounts with operations whose time is up, as far as the `most` that were up first tell."""
    return [row.account for row in execute_once(_EXPIRED, most=most)]


_EXPIRE = """
    UPDATE deferred_operations SET state = 'expired', ended_at = clock_timestamp(), ended_by = 'clock'
     WHERE id = ANY(ARRAY(SELECT id FROM deferred_operations WHERE account = :account AND state = 'waiting'
                             AND expires_at <= now() ORDER BY expires_at LIMIT :most))
    RETURNING operation, rank, request_id"""


def expire(uow: UnitOfWork, account: str, *, most: int) -> list[Any]:
    """Drop those of a queue whose time is up; the queue's row is held."""
    return list(uow.execute(_EXPIRE, account=account, most=most))


_CANCEL = """
    UPDATE deferred_operations SET state = 'cancelled', ended_at = clock_timestamp(), ended_by = :by
     WHERE id = :id AND state = 'waiting' RETURNING rank, request_id"""


def cancel(uow: UnitOfWork, deferred_id: UUID, *, by: str) -> Any | None:
    """It waits no more; None when it did not. The queue's row is held."""
    return uow.execute(_CANCEL, id=deferred_id, by=by).one_or_none()


_LEFT = """
    UPDATE deferral_queues
       SET waiting = ARRAY[greatest(waiting[1] - :w0, 0), greatest(waiting[2] - :w1, 0),
                           greatest(waiting[3] - :w2, 0), greatest(waiting[4] - :w3, 0)]"""


def left(uow: UnitOfWork, account: str, counts: Sequence[int]) -> None:
    """So many have left a queue, by rank: it is to be looked at."""
    w0, w1, w2, w3 = counts
    uow.execute(f"{_LEFT}, next_try_at = now() WHERE account = :account", account=account, w0=w0, w1=w1, w2=w2, w3=w3)


def put_back(
    uow: UnitOfWork,
    account: str,
    counts: Sequence[int],
    *,
    wait: timedelta,
    released_at: datetime | None,
    in_flight: UUID | None,
    blocked_by: str,
) -> None:
    """A queue that was served goes to the back: so many have left it, and when it is looked at again."""
    w0, w1, w2, w3 = counts
    uow.execute(
        f"{_LEFT}, next_try_at = clock_timestamp() + make_interval(secs => :wait), in_flight = :in_flight,"
        " last_release_at = coalesce(:released_at, last_release_at), blocked_by = :blocked_by"
        " WHERE account = :account",
        account=account,
        w0=w0,
        w1=w1,
        w2=w2,
        w3=w3,
        wait=wait.total_seconds(),
        released_at=released_at,
        in_flight=in_flight,
        blocked_by=blocked_by,
    )


def postpone(account: str, *, wait: timedelta) -> None:
    """Look at a queue later; a transaction by itself."""
    execute_once(
        "UPDATE deferral_queues SET next_try_at = now() + make_interval(secs => :wait) WHERE account = :account",
        account=account,
        wait=wait.total_seconds(),
    )


def delete(uow: UnitOfWork, account: str) -> None:
    """A queue in which nobody waits."""
    uow.execute("DELETE FROM deferral_queues WHERE account = :account", account=account)


_WAKE = """
    UPDATE deferral_queues SET next_try_at = now() WHERE account IN (
      SELECT q.account FROM deferral_queues q WHERE q.next_try_at > now() AND ({condition})
       ORDER BY q.account FOR UPDATE)"""

_WAITING = """
    EXISTS (SELECT 1 FROM deferred_operations d WHERE d.account = q.account AND d.state = 'waiting' AND {condition})"""


def wake(
    uow: UnitOfWork,
    *,
    everybody: bool,
    platforms: Sequence[str],
    accounts: Sequence[str],
    tenants: Sequence[str],
    operations: Sequence[str],
) -> None:
    """Let queues be due: those of platforms, accounts, tenants, and those in which some operation waits."""
    wanted = {
        "q.account = ANY(CAST(:accounts AS text[]))": accounts,
        "split_part(q.account, '/', 1) = ANY(CAST(:platforms AS text[]))": platforms,
        _WAITING.format(condition="d.operation = ANY(CAST(:operations AS text[]))"): operations,
        _WAITING.format(condition="d.tenant = ANY(CAST(:tenants AS text[]))"): tenants,
    }
    used = ["true"] if everybody else [condition for condition, names in wanted.items() if names]
    if used:
        uow.execute(
            _WAKE.format(condition=" OR ".join(used)),
            accounts=list(accounts),
            platforms=list(platforms),
            operations=list(operations),
            tenants=list(tenants),
        )


def everything_waiting(session: Session, *, after: tuple[str, str], limit: int) -> list[Any]:
    """Accounts and the operations that wait in their queues, with the most urgent rank of each; in order."""
    query = text(
        "SELECT account, operation, min(rank) AS rank FROM deferred_operations WHERE state = 'waiting'"
        " AND (account, operation) > (:account, :operation) GROUP BY account, operation"
        " ORDER BY account, operation LIMIT :limit"
    )
    return list(session.execute(query, {"account": after[0], "operation": after[1], "limit": limit}))

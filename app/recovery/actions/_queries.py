"""What a Postgres is busy with: slow queries, who blocks whom, who holds the connections, what costs most."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2

from app.health.probes import _pg
from app.infra.scrub import scrub_text
from app.infra.text import storable
from app.infra.words import duration
from app.recovery.acting import Done

LONGEST_QUERY = 500
_HOLDERS, _STATEMENTS, _DEEPEST = 20, 10, 20

# pg_blocking_pids takes every partition of the lock table for a moment: it is asked for those that wait, and no other.
_SESSIONS_NOW = """
    WITH waiting AS MATERIALIZED (
      SELECT pid, pg_blocking_pids(pid) AS blockers FROM pg_stat_activity WHERE wait_event_type = 'Lock' LIMIT 200
    ), involved AS (SELECT pid FROM waiting UNION SELECT unnest(blockers) FROM waiting)
    SELECT a.pid, a.usename, a.application_name, host(a.client_addr), a.datname, a.state,
           concat_ws(':', a.wait_event_type, a.wait_event),
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
           extract(epoch FROM clock_timestamp() - CASE WHEN a.state = 'active' THEN a.query_start
                                                       ELSE a.state_change END)::float8,
           left(a.query, 4000), coalesce(w.blockers, '{}')
      FROM pg_stat_activity a LEFT JOIN waiting w USING (pid)
     WHERE a.pid <> pg_backend_pid()
       AND (a.pid IN (SELECT pid FROM involved) OR a.backend_type = 'client backend' AND a.state <> 'idle'
            AND clock_timestamp() - coalesce(a.xact_start, a.query_start) > make_interval(secs => %s))
     ORDER BY a.pid NOT IN (SELECT pid FROM involved), a.xact_start NULLS LAST LIMIT %s"""
_HOLDERS_NOW = """
    SELECT application_name, usename, state, count(*) FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
     GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT %s"""
_IS_THERE = "SELECT to_regclass('pg_stat_statements') IS NOT NULL"
_COSTLY = """
    SELECT left(query, 4000), calls, round(total_exec_time::numeric), round(mean_exec_time::numeric, 1), rows
      FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT %s"""

# Identifiers in quotes stay; comments, strings and dollar-quoted strings go, also those that were cut off.
_TOKENS = re.compile(
    r"""(?P<kept>"(?:[^"]|"")*"?)|--[^\n]*|/\*.*?(?:\*/|\Z)"""
    r"""|\b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)|'(?:[^']|'')*(?:'|\Z)|(?P<tag>\$\w*\$).*?(?:(?P=tag)|\Z)""",
    re.DOTALL,
)


def captured(session: _pg.Session, *, slow_seconds: float, rows: int) -> Done:
    """Everything, as the detail of a step. Raises psycopg2.Error and TimedOut."""
    sessions = [_session(row) for row in session.rows(_SESSIONS_NOW, (slow_seconds, rows))]
    tree = blocking(sessions)
    detail = {
        "sessions": sessions,
        "blocking": tree,
        "connections": [_holder(row) for row in session.rows(_HOLDERS_NOW, (_HOLDERS,))],
        "statements": _statements(session),
    }
    return Done(_text(sessions, tree), detail)


def shown(query: str | None) -> str:
    """A query without anybody's data: what stands in quotes or comments is left out, secrets are masked."""
    plain = _TOKENS.sub(lambda found: found["kept"] or ("'...'" if "'" in found.group()[:2] else " "), query or "")
    return storable(" ".join(scrub_text(plain).split()), limit=LONGEST_QUERY)


def blocking(sessions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Who blocks whom, as trees of pids: at the top whoever waits for nobody, or waits in a circle."""
    waits = {one["pid"]: set(one["blocked_by"]) for one in sessions}
    blocks: dict[int, list[int]] = {}
    for pid, blockers in waits.items():
        for blocker in blockers:
            blocks.setdefault(blocker, []).append(pid)
    shown_already: set[int] = set()

    def tree(pid: int, depth: int = 0) -> dict[str, Any]:
        shown_already.add(pid)
        below = [one for one in sorted(blocks.get(pid, [])) if one not in shown_already] if depth < _DEEPEST else []
        return {"pid": pid, "blocks": [tree(one, depth + 1) for one in below if one not in shown_already]}

    roots = sorted(pid for pid in blocks if not waits.get(pid))
    trees = [tree(pid) for pid in roots]
    return trees + [tree(pid) for pid in sorted(blocks) if pid not in shown_already]


def _session(row: tuple[Any, ...]) -> dict[str, Any]:
    pid, user, application, address, database, state, waits_for, transaction, since, query, blockers = row
    return {
        "pid": pid,
        "user": user,
        "application": storable(application or "", limit=64),
        "address": address,
        "database": database,
        "state": state,
        "waits_for": waits_for or None,
        "transaction_seconds": None if transaction is None else round(transaction, 1),
        "seconds": None if since is None else round(since, 1),
        "query": shown(query),
        "blocked_by": sorted(set(blockers)),
    }


def _holder(row: tuple[Any, ...]) -> dict[str, Any]:
    application, user, state, count = row
    return {"application": storable(application or "", limit=64), "user": user, "state": state, "count": count}


def _statements(session: _pg.Session) -> list[dict[str, Any]] | None:
    """What costs most since the server counts; None where it does not count, or not for us."""
    try:
        if not session.row(_IS_THERE)[0]:
            return None
        rows = session.rows(_COSTLY, (_STATEMENTS,))
    except psycopg2.Error:
        return None
    return [
        {
            "query": shown(query),
            "calls": int(calls),
            "total_ms": float(total),
            "mean_ms": float(mean),
            "rows": int(count),
        }
        for query, calls, total, mean, count in rows
    ]


def _text(sessions: list[dict[str, Any]], tree: list[dict[str, Any]]) -> str:
    blocked = sum(1 for one in sessions if one["blocked_by"])
    others = _counted(len(sessions) - blocked, "slow or blocking session")
    text = f"recorded {others} and {_counted(blocked, 'blocked one')}"
    if not tree:
        return text
    worst = max(tree, key=_size)
    known = next((one for one in sessions if one["pid"] == worst["pid"]), None)
    how = f" ({known['state']} for {duration(known['seconds'])})" if known and known["seconds"] is not None else ""
    return f"{text}; session {worst['pid']}{how} blocks {_size(worst)}"


def _size(tree: dict[str, Any]) -> int:
    """How many sessions wait for this one, directly or not."""
    return sum(1 + _size(below) for below in tree["blocks"])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""What a report reads of single calls: groups of like ones, repeated prompts, the dearest; a day's partitions only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.costs.opportunities import HUGE_INPUT, TINY_ANSWER, UNCACHED, Group, Repeats
from app.costs.pricing import Tokens
from app.infra import ids

DEAREST = 10

_SIZES = "ARRAY[1, 1024, 8192, 32768, 128001, 200001]::bigint[]"
"""Input tokens at which another group begins: prices have tiers, and an average must not hide that one was reached, nor
that nothing was told."""
_OF_DAY = "id >= :low AND id < :high"
_LOPSIDED = (
    f"input_tokens > {HUGE_INPUT} AND output_tokens < {TINY_ANSWER} * input_tokens"
    f" AND cached_tokens < {UNCACHED} * input_tokens"
)
_GROUPS = (
    "SELECT skill, provider, model, outcome, {lopsided} AS is_lopsided, width_bucket(input_tokens, {sizes}),"
    " count(cost_micro_usd), {tokens}, coalesce(sum(cost_micro_usd), 0), count(latency_ms),"
    " coalesce(sum(latency_ms), 0)"
    " FROM cost_tracking WHERE {day}{tenant} GROUP BY 1, 2, 3, 4, 5, 6"
)
_TOKENS = ", ".join(
    f"coalesce(sum({name}) FILTER (WHERE cost_micro_usd IS NOT NULL), 0)"
    for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")
)
# An answer is kept for an hour: of each clock hour, all calls but the first, which is found without sorting.
_REPEATS = (
    "SELECT skill, model, sum(calls - 1), sum(cost - earliest[2]) FROM ("
    " SELECT skill, model, count(*) AS calls, sum(cost_micro_usd) AS cost,"
    " min(ARRAY[(extract(epoch FROM at) * 1000000)::bigint, cost_micro_usd]) AS earliest"
    " FROM cost_tracking WHERE {day}{tenant} AND prompt_hash <> '' AND cost_micro_usd > 0 AND outcome = 'ok'"
    " GROUP BY tenant, skill, provider, model, prompt_hash, date_trunc('hour', at) HAVING count(*) > 1"
    ") AS prompts GROUP BY 1, 2"
)
_DEAREST = (
    "SELECT id, at, tenant, skill, agent, user_id, provider, model, input_tokens, output_tokens, cost_micro_usd,"
    " outcome FROM cost_tracking WHERE {day}{tenant} AND cost_micro_usd > 0"
    " ORDER BY cost_micro_usd DESC, id LIMIT :most"
)


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What the single calls of a day say. `latency_ms` is the average of those that told one; None: none did."""

    groups: tuple[Group, ...] = ()
    repeats: tuple[Repeats, ...] = ()
    dearest: tuple[dict[str, Any], ...] = ()
    latency_ms: int | None = None


def read(session: Session, since: datetime, until: datetime, tenant: str | None) -> CallFacts:
    """Of a tenant's calls from `since` until `until`, or of all."""
    # A day's prompts fit into the memory that is asked for.
    session.execute(text("SET LOCAL work_mem = '64MB'"))
    given = {"low": ids.floor(since), "high": ids.floor(until), "tenant": tenant}
    rows = _run(session, _GROUPS, given)
    told, latency = sum(int(row[12]) for row in rows), sum(int(row[13]) for row in rows)
    return CallFacts(
        groups=tuple(_group(row) for row in rows if row[6]),
        repeats=tuple(Repeats(row[0], row[1], int(row[2]), int(row[3])) for row in _run(session, _REPEATS, given)),
        dearest=tuple(dict(row._mapping) for row in _run(session, _DEAREST, {**given, "most": DEAREST})),
        latency_ms=round(latency / told) if told else None,
    )


def _group(row: Sequence[Any]) -> Group:
    return Group(
        skill=row[0],
        provider=row[1],
        model=row[2],
        outcome=row[3],
        lopsided=row[4],
        calls=row[6],
        tokens=Tokens(*map(int, row[7:11])),
        cost=int(row[11]),
    )


def _run(session: Session, statement: str, given: dict[str, Any]) -> Sequence[Any]:
    tenant = "" if given["tenant"] is None else " AND tenant = :tenant"
    filled = statement.format(day=_OF_DAY, tenant=tenant, lopsided=f"({_LOPSIDED})", sizes=_SIZES, tokens=_TOKENS)
    return session.execute(text(filled), given).all()

"""Roll-ups: what was inserted is added to its hour and its day, in each dimension, by the statement that inserts it."""

from __future__ import annotations

SUMS = (
    "calls",
    "unpriced",
    "failed",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_micro_usd",
    "latency_ms",
)
"""Columns that add up."""

KEY = "dimension, start_at, tenant, name, skill"
SUMMED = ", ".join(SUMS)
NEEDED = (
    "at, tenant, skill, agent, user_id, department, provider, model, input_tokens, cached_tokens, cache_write_tokens,"
    " output_tokens, cost_micro_usd, latency_ms, outcome"
)
"""Columns of a call that roll-ups are made of."""

# Bits of grouping(): 0 where the row is one of that column's.
_BY = "grouping(model, agent, user_id, department)"


def hours_of(source: str) -> str:
    """A query: the rows of cost_hours that the calls of `source`, which has the columns NEEDED, make by themselves."""
    return f"""
        SELECT CASE {_BY} WHEN 7 THEN 'model' WHEN 11 THEN 'agent' WHEN 13 THEN 'user' ELSE 'department' END
                   AS dimension,
               start_at, tenant,
               CASE {_BY} WHEN 7 THEN provider || '/' || model WHEN 11 THEN agent WHEN 13 THEN user_id
                   ELSE department END AS name,
               coalesce(skill, '') AS skill,
               count(*) AS calls,
               count(*) - count(cost_micro_usd) AS unpriced,
               count(*) FILTER (WHERE outcome <> 'ok') AS failed,
               sum(input_tokens)::bigint AS input_tokens,
               sum(cached_tokens)::bigint AS cached_tokens,
               sum(cache_write_tokens)::bigint AS cache_write_tokens,
               sum(output_tokens)::bigint AS output_tokens,
               coalesce(sum(cost_micro_usd), 0)::bigint AS cost_micro_usd,
               coalesce(sum(latency_ms), 0)::bigint AS latency_ms
          FROM (SELECT date_trunc('hour', at, 'UTC') AS start_at, {NEEDED} FROM {source}) AS call
         GROUP BY start_at, tenant, GROUPING SETS ((provider, model, skill), (agent), (user_id), (department))"""


def days_of(hours: str) -> str:
    """A query: the rows of cost_days that such rows of hours add up to."""
    return f"""
        SELECT dimension, date_trunc('day', start_at, 'UTC') AS start_at, tenant, name, skill,
               {", ".join(f"sum({name})::bigint AS {name}" for name in SUMS)}
          FROM {hours} AS hour GROUP BY 1, 2, 3, 4, 5"""


def _added(level: str, rows: str) -> str:
    """In the order of their keys: two orders are a deadlock."""
    added = ", ".join(f"{name} = cost_{level}.{name} + excluded.{name}" for name in SUMS)
    return f"""
        INSERT INTO cost_{level} ({KEY}, {SUMMED}) SELECT {KEY}, {SUMMED} FROM ({rows}) AS added ORDER BY {KEY}
        ON CONFLICT ({KEY}) DO UPDATE SET {added}"""


def added_from(fresh: str) -> str:
    """A statement: add the calls that the query `fresh`, or the INSERT … RETURNING, yields; answers how many.

    Its order of locks is everybody's: calls, hours, days, days to look at again.
    """
    return f"""
        WITH fresh AS ({fresh}),
             hours AS ({hours_of("fresh")}),
             hourly AS ({_added("hours", "TABLE hours")} RETURNING 1),
             daily AS ({_added("days", days_of("hours"))} RETURNING 1),
             touched AS (
                INSERT INTO cost_touched_days (start_at)
                SELECT DISTINCT date_trunc('day', start_at, 'UTC') FROM hours ORDER BY 1
                ON CONFLICT DO NOTHING RETURNING 1)
        SELECT coalesce(sum(calls), 0)::bigint AS calls, (SELECT count(*) FROM hourly) AS hours,
               (SELECT count(*) FROM daily) AS days, (SELECT count(*) FROM touched) AS touched
          FROM hours WHERE dimension = 'model'"""

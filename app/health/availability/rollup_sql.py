"""The SQL that makes an hour of every service from results and incidents, and a day from its hours.

A result vouches for its service from its start until the next one's start, for as long as it may be shown at most. What
it vouches for is excluded while it was in maintenance; an incident is down but for what is excluded, and vouches for
itself where no result does. test_rollup.py has the same in plain Python.
"""

from __future__ import annotations

from app.health.availability.histogram import BOUNDS_MS, SIZE
from app.health.standing import STALE_AT_LEAST

STACK = "*"
"""The service that is the stack as a whole. None can be called this."""

_COUNTS = ("known_ms", "down_ms", "degraded_ms", "excluded_ms", "probes", "failed", "latency_count")
_SUMS = (*_COUNTS, "latency_sum_ms", "latency_min_ms", "latency_max_ms", "latency_buckets")
_HOUR = ("service", *_SUMS, "down_spans")

_BOUNDS = f"ARRAY[{', '.join(f'{bound:g}' for bound in BOUNDS_MS)}]::float8[]"
_NOTHING = "'{}'::tstzmultirange"

LONGEST_STALE = f"""
SELECT greatest(coalesce(max(interval_seconds), 0) * 3, {STALE_AT_LEAST.total_seconds():g})::float8 FROM services
"""
"""Seconds that any result may vouch for its service."""


def _ms(interval: str) -> str:
    """Whole milliseconds, rounded down, so that parts never exceed their whole; 0 for null."""
    return f"coalesce(trunc(extract(epoch FROM {interval}) * 1000), 0)::int"


def _length(multirange: str) -> str:
    return f"(SELECT sum(upper(r) - lower(r)) FROM unnest({multirange}) AS r)"


# The last result before the hour is looked for service by service, by the index: it may be days old.
_PROBES = f"""
watched AS MATERIALIZED (
  SELECT name, essential, make_interval(secs => greatest(3 * interval_seconds, {STALE_AT_LEAST.total_seconds():g}))
         AS stale_after
  FROM services
), probe AS (
  SELECT service, started_at, state, ok, in_maintenance, latency_ms, true AS inside
  FROM system_health_log WHERE id >= :low AND id < :high AND started_at <= :now
  UNION ALL
  SELECT w.name, l.started_at, l.state, l.ok, l.in_maintenance, NULL, false
  FROM watched w CROSS JOIN LATERAL (
    SELECT * FROM system_health_log WHERE service = w.name AND id >= :oldest AND id < :low ORDER BY id DESC LIMIT 1
  ) AS l
), piece AS MATERIALIZED (
  SELECT p.service, w.essential, p.inside, p.ok, p.in_maintenance, p.latency_ms,
         p.state = 'degraded' AND NOT p.in_maintenance AS degraded,
         greatest(p.started_at, :hour) AS begins_at,
         greatest(p.started_at, :hour, least(
           lead(p.started_at) OVER (PARTITION BY p.service ORDER BY p.started_at),
           p.started_at + w.stale_after, :until, :now
         )) AS ends_at
  FROM probe p JOIN watched w ON w.name = p.service
)"""

# First by bucket, then by service: the second sum has a few rows of each service only.
_PLAIN = f"""
bucketed AS (
  SELECT service, width_bucket(latency_ms::float8, {_BOUNDS}) AS bucket,
         count(*) FILTER (WHERE inside) AS probes, count(*) FILTER (WHERE inside AND NOT ok) AS failed,
         count(latency_ms) AS latency_count, sum(latency_ms::float8) AS latency_sum,
         min(latency_ms) AS latency_min, max(latency_ms) AS latency_max,
         sum(ends_at - begins_at) FILTER (WHERE NOT in_maintenance) AS known,
         sum(ends_at - begins_at) FILTER (WHERE degraded) AS degraded,
         sum(ends_at - begins_at) FILTER (WHERE in_maintenance) AS excluded
  FROM piece WHERE inside OR ends_at > begins_at GROUP BY 1, 2
), plain AS (
  SELECT service, sum(probes)::int AS probes, sum(failed)::int AS failed, sum(latency_count)::int AS latency_count,
         coalesce(sum(latency_sum), 0) AS latency_sum, min(latency_min) AS latency_min, max(latency_max) AS latency_max,
         CASE WHEN sum(latency_count) > 0 THEN ARRAY[{
    ", ".join(f"coalesce(sum(latency_count) FILTER (WHERE bucket = {place}), 0)::int" for place in range(SIZE))
}] END AS latency_buckets,
         sum(known) AS known, sum(degraded) AS degraded, sum(excluded) AS excluded
  FROM bucketed GROUP BY service
)"""

# Spans of time as sets, for the few services that fell. `counted` are incidents that began outside of maintenance.
_FALLEN = f"""
incident AS (
  SELECT service, range_agg(span) AS whole, coalesce(range_agg(span) FILTER (WHERE NOT in_maintenance), {_NOTHING})
         AS counted
  FROM (
    SELECT service, in_maintenance,
           tstzrange(greatest(started_at, :hour), least(recovered_at, :until, :now)) AS span
    FROM incidents
    WHERE started_at < :until AND started_at < :now
          AND (recovered_at IS NULL OR recovered_at > greatest(started_at, :hour))
  ) AS clipped GROUP BY service
), vouched AS (
  SELECT service, coalesce(range_agg(span) FILTER (WHERE NOT in_maintenance), {_NOTHING}) AS counted,
         coalesce(range_agg(span) FILTER (WHERE in_maintenance), {_NOTHING}) AS excluded,
         coalesce(range_agg(span) FILTER (WHERE degraded), {_NOTHING}) AS degraded
  FROM (
    SELECT service, in_maintenance, degraded, tstzrange(begins_at, ends_at) AS span FROM piece
    WHERE service IN (SELECT service FROM incident)
  ) AS spans GROUP BY service
), fallen AS MATERIALIZED (
  SELECT i.service, w.essential,
         i.whole * coalesce(v.counted, {_NOTHING})
         + (i.counted - coalesce(v.counted + v.excluded, {_NOTHING})) AS down,
         i.counted - coalesce(v.counted + v.excluded, {_NOTHING}) AS unheard,
         (i.whole - i.counted) - coalesce(v.counted + v.excluded, {_NOTHING}) AS unheard_excluded,
         i.whole * coalesce(v.degraded, {_NOTHING}) AS not_degraded
  FROM incident i JOIN watched w ON w.name = i.service LEFT JOIN vouched v ON v.service = i.service
)"""

# Down while any essential service is; known while any of them is; degraded while any service is down or degraded.
_WHOLE = f"""
whole AS (
  SELECT coalesce(range_agg(span) FILTER (WHERE essential AND what = 'known'), {_NOTHING}) AS known,
         coalesce(range_agg(span) FILTER (WHERE essential AND what = 'down'), {_NOTHING}) AS down,
         coalesce(range_agg(span) FILTER (WHERE essential AND what = 'excluded'), {_NOTHING}) AS excluded,
         coalesce(range_agg(span) FILTER (WHERE what IN ('down', 'degraded')), {_NOTHING}) AS ailing
  FROM (
    SELECT essential, CASE WHEN in_maintenance THEN 'excluded' WHEN degraded THEN 'degraded' ELSE 'known' END AS what,
           tstzmultirange(tstzrange(begins_at, ends_at)) AS span
    FROM piece WHERE essential OR degraded
    UNION ALL
    SELECT true, 'known', tstzmultirange(tstzrange(begins_at, ends_at)) FROM piece WHERE essential AND degraded
    UNION ALL
    SELECT essential, 'down', down FROM fallen
    UNION ALL
    SELECT essential, 'known', unheard FROM fallen
    UNION ALL
    SELECT essential, 'excluded', unheard_excluded FROM fallen
  ) AS parts
)"""

_COMPUTED = f"""
computed AS MATERIALIZED (
  SELECT coalesce(p.service, f.service) AS service,
         {_ms(f"coalesce(p.known, interval '0') + coalesce({_length('f.unheard')}, interval '0')")} AS known_ms,
         {_ms(_length("f.down"))} AS down_ms,
         {_ms(f"coalesce(p.degraded, interval '0') - coalesce({_length('f.not_degraded')}, interval '0')")}
         AS degraded_ms,
         {_ms(f"coalesce(p.excluded, interval '0') + coalesce({_length('f.unheard_excluded')}, interval '0')")}
         AS excluded_ms,
         coalesce(p.probes, 0) AS probes, coalesce(p.failed, 0) AS failed,
         coalesce(p.latency_count, 0) AS latency_count, coalesce(p.latency_sum, 0) AS latency_sum_ms,
         p.latency_min AS latency_min_ms, p.latency_max AS latency_max_ms, p.latency_buckets,
         nullif(f.down, {_NOTHING}) AS down_spans
  FROM plain p FULL JOIN fallen f ON f.service = p.service
  UNION ALL
  SELECT '{STACK}', {_ms(_length("known"))}, {_ms(_length("down"))}, {_ms(_length("(ailing - down) * known"))},
         {_ms(_length("excluded - known"))}, 0, 0, 0, 0, NULL, NULL, NULL, nullif(down, {_NOTHING})
  FROM whole WHERE known <> {_NOTHING} OR excluded <> {_NOTHING}
)"""

HOUR = f"""
WITH {_PROBES}, {_PLAIN}, {_FALLEN}, {_WHOLE}, {_COMPUTED}, gone AS (
  DELETE FROM service_hours h
  WHERE h.hour = :hour AND NOT EXISTS (SELECT 1 FROM computed c WHERE c.service = h.service)
)
INSERT INTO service_hours AS h (hour, {", ".join(_HOUR)}) SELECT :hour, {", ".join(_HOUR)} FROM computed
ON CONFLICT (hour, service) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _HOUR[1:])}
WHERE ({", ".join(f"h.{name}" for name in _HOUR[1:])})
      IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _HOUR[1:])})
"""
"""One hour of all services, made anew. Binds hour, until (its end), now, low and high (their ids), and oldest."""

_SUMMED = {
    **{name: f"sum({name})::int" for name in _COUNTS},
    "latency_sum_ms": "sum(latency_sum_ms)",
    "latency_min_ms": "min(latency_min_ms)",
    "latency_max_ms": "max(latency_max_ms)",
    "latency_buckets": "CASE WHEN sum(latency_count) > 0 THEN ARRAY["
    + ", ".join(f"sum(latency_buckets[{place}])::int" for place in range(1, SIZE + 1))
    + "] END",
}

DAY = f"""
WITH summed AS (
  SELECT service, {", ".join(f"{what} AS {name}" for name, what in _SUMMED.items())}
  FROM service_hours WHERE hour >= :midnight AND hour < :midnight + interval '1 day' GROUP BY service
), gone AS (
  DELETE FROM service_days d
  WHERE d.day = :day AND NOT EXISTS (SELECT 1 FROM summed s WHERE s.service = d.service)
)
INSERT INTO service_days AS d (day, service, {", ".join(_SUMS)}) SELECT :day, service, {", ".join(_SUMS)} FROM summed
ON CONFLICT (day, service) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _SUMS)}
WHERE ({", ".join(f"d.{name}" for name in _SUMS)}) IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _SUMS)})
"""
"""One day of all services from its hours. Binds day and midnight (its first moment)."""

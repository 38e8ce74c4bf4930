"""Roll-ups are compared with the calls they were made of, night by night, and repaired where they differ.

Calls and their roll-ups are committed together, so that one statement, which is one snapshot, sees them agree whoever
writes meanwhile. Only a repair needs everybody else to wait.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from sqlalchemy import Row

from app import clock, signals
from app.config import settings
from app.costs import rollups, turns
from app.costs.rollups import KEY, SUMMED, SUMS
from app.errors import Invalid, Problem
from app.infra import ids
from app.infra.db import UnitOfWork, execute_once, unit_of_work
from app.infra.logging import get_logger

log = get_logger(__name__)

Level = Literal["hours", "days"]

DIFFERED = "costs.rollups_differed"
SECONDS = 120.0
"""How long one job begins another day."""

_STEPS: Mapping[Level, timedelta] = {"hours": timedelta(hours=1), "days": timedelta(days=1)}

_MADE: Mapping[Level, str] = {
    "hours": rollups.hours_of("cost_tracking WHERE id >= :low AND id < :high"),
    "days": rollups.days_of("(SELECT * FROM cost_hours WHERE start_at >= :since AND start_at < :until)"),
}


def _compared(level: Level) -> str:
    """A query: the roll-ups of a period that differ, as they are and as they should be; null where there is none."""
    before, after = (", ".join(f"'{name}', {table}.{name}" for name in SUMS) for table in ("kept", "made"))
    differs = " OR ".join(f"kept.{name} IS DISTINCT FROM made.{name}" for name in SUMS)
    return f"""
        SELECT {KEY},
               CASE WHEN kept.calls IS NOT NULL THEN jsonb_build_object({before}) END AS before,
               CASE WHEN made.calls IS NOT NULL THEN jsonb_build_object({after}) END AS after
          FROM (SELECT * FROM cost_{level} WHERE dimension IN ('model', 'agent', 'user', 'department')
                   AND start_at >= :since AND start_at < :until) AS kept
          FULL JOIN ({_MADE[level]}) AS made USING ({KEY})
         WHERE {differs} ORDER BY {KEY}"""


_COMPARED: Mapping[Level, str] = {level: _compared(level) for level in _STEPS}

_RECORDED = "jsonb_to_recordset(CAST(:rows AS jsonb)) AS r"
_KEY_COLUMNS = "dimension text, start_at timestamptz, tenant text, name text, skill text"


@dataclass(slots=True)
class Recomputed:
    """What came of it: days that were compared, rows that were repaired, days that are left for the next job."""

    days: list[date] = field(default_factory=list)
    repaired: int = 0
    left: int = 0


def recompute_touched(now: datetime, seconds: float = SECONDS) -> Recomputed:
    """Compare yesterday, and each day before today that calls came for since it was compared. Raises Transient."""
    ends = clock.monotonic() + seconds
    done = Recomputed()
    today = now.astimezone(UTC).date()
    _touch(today - timedelta(days=1))
    for day in _touched(today):
        if done.days and clock.monotonic() >= ends:
            done.left += 1
            continue
        _begin(day)
        if day >= oldest(now):
            done.repaired += recompute(day, now)
        _end(day)
        done.days.append(day)
    return done


def recompute(day: date, now: datetime) -> int:
    """Compare a day's hours with its calls, and the day with its hours; how many roll-ups were repaired.

    Raises Invalid for a day of which not everything is kept any more, Transient.
    """
    if day > now.astimezone(UTC).date() + timedelta(days=1):
        raise Invalid([Problem("day", "is yet to come")])
    if day < oldest(now):
        raise Invalid([Problem("day", f"its calls are not all kept any more; the first is {oldest(now)}")])
    repaired = 0
    for level in _STEPS:
        for since in _starts(day, level):
            repaired += _compare(level, since)
    if repaired:
        log.error("roll-ups differed from their calls, and are repaired", day=str(day), rows=repaired)
        with unit_of_work() as uow:
            signals.record(uow, DIFFERED, "costs", facts={"day": str(day), "rows": repaired})
    return repaired


def day_of(given: str) -> date:
    """A day as people write it. Raises Invalid."""
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise Invalid([Problem("day", "must be a day such as 2026-11-21")]) from None


def oldest(now: datetime) -> date:
    """The first day of which calls and roll-ups are all kept."""
    config = settings()
    kept = min(config.cost_days, config.cost_hour_days, config.cost_sum_days)
    return now.astimezone(UTC).date() - timedelta(days=kept - 1)


def _compare(level: Level, since: datetime) -> int:
    period = _period(level, since)
    if not execute_once(_COMPARED[level], **period):
        return 0
    with turns.alone() as uow:
        rows = uow.execute(_COMPARED[level], **period).all()
        _repair(uow, level, rows)
    return len(rows)


def _repair(uow: UnitOfWork, level: Level, rows: Sequence[Row[Any]]) -> None:
    """Make these roll-ups what they should be, and keep what they were. The caller is alone."""
    keys = [{name: getattr(row, name) for name in KEY.split(", ")} for row in rows]
    uow.execute(
        f"DELETE FROM cost_{level} AS gone USING {_RECORDED}({_KEY_COLUMNS}) WHERE "
        + " AND ".join(f"gone.{name} = r.{name}" for name in KEY.split(", ")),
        rows=json.dumps(keys, default=str),
    )
    uow.execute(
        f"INSERT INTO cost_{level} ({KEY}, {SUMMED}) SELECT {KEY}, {SUMMED}"
        f" FROM {_RECORDED}({_KEY_COLUMNS}, {', '.join(f'{name} bigint' for name in SUMS)}) ORDER BY {KEY}",
        rows=json.dumps([{**key, **row.after} for key, row in zip(keys, rows, strict=True) if row.after], default=str),
    )
    kept = [
        {"id": ids.uuid7(), "level": level, **key, "before": row.before or {}, "after": row.after or {}}
        for key, row in zip(keys, rows, strict=True)
    ]
    uow.execute(
        f"INSERT INTO cost_repairs (id, level, {KEY}, before, after) SELECT id, level, {KEY}, before, after"
        f" FROM {_RECORDED}(id uuid, level text, {_KEY_COLUMNS}, before jsonb, after jsonb)",
        rows=json.dumps(kept, default=str),
    )


def _period(level: Level, since: datetime) -> dict[str, Any]:
    until = since + _STEPS[level]
    if level == "days":
        return {"since": since, "until": until}
    return {"since": since, "until": until, "low": ids.floor(since), "high": ids.floor(until)}


def _starts(day: date, level: Level) -> Iterator[datetime]:
    start = _midnight(day)
    for number in range(timedelta(days=1) // _STEPS[level]):
        yield start + number * _STEPS[level]


def _touched(today: date) -> list[date]:
    query = "SELECT DISTINCT start_at FROM cost_touched_days WHERE start_at < :today ORDER BY 1"
    return [row.start_at.date() for row in execute_once(query, today=_midnight(today))]


def _touch(day: date) -> None:
    execute_once("INSERT INTO cost_touched_days (start_at) VALUES (:day) ON CONFLICT DO NOTHING", day=_midnight(day))


def _begin(day: date) -> None:
    """From here on calls that come for this day mark it anew; the mark of this comparison outlives a killed worker."""
    with unit_of_work() as uow:
        uow.execute(
            "INSERT INTO cost_touched_days (start_at, looking) VALUES (:day, true) ON CONFLICT DO NOTHING",
            day=_midnight(day),
        )
        uow.execute("DELETE FROM cost_touched_days WHERE start_at = :day AND NOT looking", day=_midnight(day))


def _end(day: date) -> None:
    execute_once("DELETE FROM cost_touched_days WHERE start_at = :day AND looking", day=_midnight(day))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)

"""Calls are recorded: priced, counted in every budget and put into the stream, by one script for up to 1,000 of them.

Postgres is not needed for that. In durable mode calls are in Postgres before the caller is told so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app import clock
from app.costs import calls as intake
from app.costs import draining, packing, price_table
from app.costs.calls import Call
from app.costs.packing import Aside
from app.costs.price_table import PriceTable
from app.costs.pricing import Tokens
from app.errors import Invalid, Problem, SmmError, Transient
from app.infra.logging import get_logger
from app.limits import crossings, spending
from app.limits.budgets import Who
from app.limits.spending import AT_ONCE, Entry, Full, Recorded, Spent

PAST, AHEAD = timedelta(days=30), timedelta(hours=1)
"""How far an id's time may lie from ours; beyond it the call is set aside."""

CALLS, ASIDE = "calls", "aside"
"""Kinds of entries: rows for COPY, or lines of JSON."""

_LAST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many were new, and how many known; `set_aside`: place and reason of those that go nowhere else."""

    accepted: int
    duplicates: int
    set_aside: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: str
    payload: bytes
    spent: Sequence[Spent]


def record(calls: Sequence[Call], *, durable: bool, source: str) -> Outcome:
    """Record each of these, once, whoever sent it how often. `source`: who did, for those that are set aside.

    Raises Transient where some are not recorded, or, if `durable`, not in Postgres: then send all of them again.
    """
    now = clock.now().timestamp()
    good: list[Call] = []
    aside: list[tuple[int, str]] = []
    for place, call in enumerate(calls):
        if (reason := _outside(call.at, now)) is None:
            good.append(call)
        else:
            aside.append((place, reason))
    chunks = [*_chunks(good), *_asides([(calls[place], reason) for place, reason in aside], source)]
    accepted, duplicates = _all(chunks, durable=durable)
    return Outcome(accepted, duplicates, tuple(aside))


def replay(call: Mapping[str, Any], *, force: bool = False, source: str = "replay") -> Outcome:
    """Record a call that was set aside, durably. `force`: whatever the time of its id. Raises Invalid, Transient."""
    parsed = intake.parse_items([call])
    if parsed.rejected:
        errors = parsed.rejected[0]["errors"]
        raise Invalid([Problem(one["field"], one["message"]) for one in errors], subject="call")
    found = [one for _, one in parsed.good]
    if not force:
        return record(found, durable=True, source=source)
    if found[0].at >= _LAST:
        raise Invalid([Problem("id", "its time is beyond the calendar's end")], subject="call")
    return Outcome(*_all(list(_chunks(found)), durable=True), ())


def priced(calls: Sequence[Call]) -> list[Call]:
    """With their cost by the price table, where there is one; those without a table are priced later."""
    table = price_table.current()
    if table is None:
        return list(calls)
    return [_priced(call, table) if call.priced == "later" else call for call in calls]


def _priced(call: Call, table: PriceTable) -> Call:
    at = datetime.fromtimestamp(call.at, UTC)
    tokens = Tokens(call.input_tokens, call.cached_tokens, call.cache_write_tokens, call.output_tokens)
    micro, by, price_id = table.cost(call.tenant, call.provider, call.model, at, tokens)
    return Call._make((*call[:_COST], micro, by, price_id, *call[_COST + 3 :]))  # a third of what _replace takes


_COST = Call._fields.index("cost_micro_usd")
"""Where the cost, how it is known, and the price stand in a call."""


def _outside(at: float, now: float) -> str | None:
    if at < now - PAST.total_seconds():
        return "too_old"
    return "from_the_future" if at > now + AHEAD.total_seconds() else None


def _chunks(calls: Sequence[Call]) -> Iterator[_Chunk]:
    for start in range(0, len(calls), AT_ONCE):
        part = priced(calls[start : start + AT_ONCE])
        yield _Chunk(CALLS, packing.rows(part), [_spent(call) for call in part])


def _spent(call: Call) -> Spent:
    who = Who(call.tenant, call.department, call.user, call.agent, call.skill, call.interaction)
    return Spent(call.id, call.cost_micro_usd, call.at, who)


def _asides(given: Sequence[tuple[Call, str]], source: str) -> Iterator[_Chunk]:
    for start in range(0, len(given), AT_ONCE):
        lines = [
            Aside(reason, _WHY[reason], call.id, source, intake.body_of(call))
            for call, reason in given[start : start + AT_ONCE]
        ]
        yield _Chunk(ASIDE, packing.asides(lines), ())


_WHY = {
    "too_old": f"its id was made more than {PAST.days} days before it came",
    "from_the_future": f"its id was made more than {AHEAD.total_seconds() / 3600:.0f} hour after it came",
}


def _all(chunks: Sequence[_Chunk], *, durable: bool) -> tuple[int, int]:
    """How many calls were new, and how many known."""
    accepted = duplicates = 0
    written: list[Entry] = []
    crossed = False
    try:
        for chunk in chunks:
            done = _recorded(chunk, durable=durable)
            crossed = crossed or done.crossed
            if chunk.kind == CALLS:
                accepted, duplicates = accepted + done.fresh, duplicates + done.duplicates
            if durable and done.entry is not None:
                written += _entry(done.entry)
    finally:
        if crossed:
            _tell()
    if written:
        draining.drain_entries(written)
    return accepted, duplicates


def _recorded(chunk: _Chunk, *, durable: bool) -> Recorded:
    """A durable call that is known already may still wait in the stream: it is put there, and drained, again."""
    try:
        return spending.record(chunk.spent, chunk.payload, kind=chunk.kind, always=durable or not chunk.spent)
    except Full:
        raise
    except Transient as error:
        if not durable:
            raise
        log.warning("calls are written past the stream", error=str(error), calls=len(chunk.spent))
        fresh = draining.write_directly(chunk.kind, chunk.payload)
        return Recorded(None, fresh, len(chunk.spent) - fresh, crossed=False)


def _entry(name: str) -> list[Entry]:
    """The entry as it stands in the stream; nothing where somebody has drained it by now."""
    millis, _, turn = name.partition("-")
    before = f"{millis}-{int(turn) - 1}" if int(turn) else f"{int(millis) - 1}-{2**64 - 1}"
    return [entry for entry in spending.entries(1, after=before) if entry.id == name]


def _tell() -> None:
    """What was crossed is acted on now; the tick does it where that fails."""
    try:
        crossings.tell(wait=True)
    except SmmError as error:
        log.warning("a budget's threshold was reached, and is told by the next tick", error=str(error))

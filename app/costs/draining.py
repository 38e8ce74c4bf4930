"""The drain: calls leave the stream for Postgres, twenty thousand in one transaction, and then only the stream.

An entry is deleted after its calls are committed. What is written twice is written once: every call is known by its id.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app import clock
from app.costs import asides, copying, turns
from app.costs.asides import SetAside
from app.costs.keeping import Kept, keep
from app.infra import metrics
from app.infra.db import describe, unit_of_work
from app.infra.logging import get_logger
from app.limits import spending
from app.limits.spending import Entry

SECONDS = 1.9
"""Of one pass: it ends before the second tick after it, so that in a flood little time is lost between two."""

ROWS, BYTES = 20_000, 16 * 1_048_576
"""Of one transaction, at least; the entry that passes either is its last one."""

FIRST, MOST = 4, 128
"""Entries that are read at once: a few at first, and then as many like them as are missing. Where those that follow are
larger, that is still memory for them all."""

ASIDE = "aside"
_OURS = ""
"""The id of what never was in the stream."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html: bad data, a broken constraint, and more than fits into
# a row of an index. Anything else is not the rows' fault, and they wait in the stream until it is over.
_ROWS_FAULT = ("22", "23", "54")

log = get_logger(__name__)


def drain(seconds: float = SECONDS) -> Kept:
    """Write down what waits, for so long; nothing where another process does. Raises Transient."""
    done = Kept()
    if not spending.entries(1):  # as a rule, where little is spent: Postgres need not be asked
        return done
    ends = clock.monotonic() + seconds
    try:
        with turns.draining() as connection:
            began = clock.monotonic()
            while connection is not None and (batch := _read()):
                _write(connection, batch, done, expect_new=True, ends=ends)
                began, before = clock.monotonic(), began
                if 2 * began - before >= ends:  # one more would end too late
                    break
    finally:
        _tell(done)
    return done


def drain_entries(entries: Sequence[Entry]) -> Kept:
    """Write these down now, whoever else drains. Raises Transient: then they still wait in the stream."""
    done = Kept()
    with turns.connected() as connection:
        _write(connection, entries, done, expect_new=False)
    _tell(done)
    return done


def write_directly(kind: str, payload: bytes) -> int:
    """Write down what could not be put into the stream; how many calls were new. Raises Transient."""
    return drain_entries([Entry(_OURS, kind, payload, b"")]).calls


def _read() -> list[Entry]:
    """The oldest entries, as many as make one transaction."""
    taken: list[Entry] = []
    rows = size = 0
    count, after = FIRST, "-"
    while rows < ROWS and size < BYTES:
        found = spending.entries(count, after)
        taken += found
        if len(found) < count:
            break
        after = found[-1].id
        rows += sum(entry.payload.count(b"\n") for entry in found)
        size += sum(len(entry.payload) for entry in found)
        missing = min((ROWS - rows) / max(1, rows), (BYTES - size) / max(1, size))
        count = max(1, min(MOST, int(missing * len(taken))))
    return taken


def _write(
    connection: Connection, batch: Sequence[Entry], done: Kept, *, expect_new: bool, ends: float | None = None
) -> None:
    """Write entries down and delete them; those that Postgres refuses by halves, until the bad row is found.

    What is not done when time is up waits in the stream for the next pass; one step is always made.
    """
    waiting = [list(batch)]
    while waiting:
        entries = waiting.pop()
        with turns.writing(connection):
            found = _written(connection, entries, expect_new=expect_new)
            if found is None and len(entries) > 1:
                middle = len(entries) // 2
                waiting += [entries[middle:], entries[:middle]]
                continue
            done.add(_sifted(connection, entries[0]) if found is None else found)
            done.entries += spending.drained([entry for entry in entries if entry.id != _OURS])
        if ends is not None and clock.monotonic() >= ends:
            break


def _written(connection: Connection, entries: Sequence[Entry], *, expect_new: bool) -> Kept | None:
    """One transaction of all of them; None where Postgres will not have some row."""
    lines = copying.lines_of(entry.payload for entry in entries if entry.kind != ASIDE)
    aside = [one for entry in entries if entry.kind == ASIDE for one in asides.of_entry(entry.id, entry.payload)]
    return _tried(connection, lines, aside, expect_new=expect_new)[0]


def _sifted(connection: Connection, entry: Entry) -> Kept:
    """The good rows of one entry; each bad one is set aside. What a killed pass has done is not done again."""
    if entry.kind == ASIDE:
        return _kept(connection, (), asides.unreadable(entry.id, entry.payload), expect_new=False)
    done = Kept()
    with unit_of_work(connection) as uow:
        waiting = [asides.not_refused(uow, entry.id, copying.lines_of([entry.payload]))]
    while waiting:
        lines = waiting.pop()
        found, why = _tried(connection, lines, (), expect_new=False)
        if found is None and len(lines) > 1:
            middle = len(lines) // 2
            waiting += [lines[middle:], lines[:middle]]
            continue
        if found is None:
            bad = asides.refused(entry.id, lines[0], why)
            log.warning("a call is set aside", call=bad.event_id, why=why)
            found = _kept(connection, (), [bad], expect_new=False)
        done.add(found)
    return done


def _tried(
    connection: Connection, lines: Sequence[bytes], aside: Sequence[SetAside], *, expect_new: bool
) -> tuple[Kept | None, str]:
    """What was kept; or None, and what Postgres said, where that is the rows' fault."""
    try:
        return _kept(connection, lines, aside, expect_new=expect_new), ""
    except DBAPIError as error:
        if not (getattr(error.orig, "pgcode", None) or "").startswith(_ROWS_FAULT):
            raise
        return None, describe(error)


def _kept(connection: Connection, lines: Sequence[bytes], aside: Sequence[SetAside], *, expect_new: bool) -> Kept:
    with unit_of_work(connection) as uow:
        return keep(uow, lines, aside, expect_new=expect_new)


def _tell(done: Kept) -> None:
    for result, count in (("kept", done.calls), ("duplicate", done.duplicates)):
        if count:
            metrics.COST_CALLS.inc(count, result=result)
    if not done.set_aside:
        return
    metrics.COST_CALLS.inc(sum(done.set_aside.values()), result="set_aside")
    with unit_of_work() as uow:
        asides.tell(uow, done.set_aside)

"""Calls that are set aside: how they are told by the stream or by a failure, and how they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from app import signals
from app.costs import packing
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.text import json_safe

SIGNAL = "costs.set_aside"
REFUSED = "refused"
"""Postgres would not have the row."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_INSERT = """
    INSERT INTO cost_set_aside (id, reason, detail, event_id, call, source)
    SELECT id, reason, detail, event_id, call, source FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS r(id uuid, reason text, detail text, event_id text, call jsonb, source text)
     ORDER BY id
    ON CONFLICT DO NOTHING RETURNING reason"""

_KNOWN = "SELECT id FROM cost_set_aside WHERE id = ANY(CAST(:ids AS uuid[]))"


class SetAside(NamedTuple):
    """One of them. `event_id`: of the call, as far as it is known; `call`: whole, as it could be sent again."""

    id: UUID
    reason: str
    detail: str
    event_id: str
    source: str
    call: Any


def of_entry(entry_id: str, payload: bytes) -> list[SetAside]:
    """Those that an entry of the stream holds: the same ids each time, so that each is kept once."""
    return [_of_line(_named(entry_id, place), line) for place, line in enumerate(payload.split(b"\n")) if line]


def not_refused(uow: UnitOfWork, entry_id: str, lines: Sequence[bytes]) -> list[bytes]:
    """Rows of an entry without those that a pass has set aside which ended before it was through."""
    named = {line: _named(entry_id, _identifier(line)) for line in lines}
    known = set(uow.execute(_KNOWN, ids=[str(identifier) for identifier in named.values()]).scalars())
    return [line for line in lines if named[line] not in known]


def refused(entry_id: str, line: bytes, why: str) -> SetAside:
    """A row that Postgres would not have."""
    identifier = _identifier(line)
    try:
        [call] = packing.unpack(line)
    except (ValueError, TypeError):  # neither ours: the text as it came
        call = {"row": line.decode("utf-8", "replace")}
    return SetAside(_named(entry_id, identifier), REFUSED, why, identifier, "drain", call)


def insert(uow: UnitOfWork, given: Sequence[SetAside]) -> dict[str, int]:
    """Keep them; how many were new, by reason."""
    if not given:
        return {}
    rows = json.dumps([json_safe({**one._asdict(), "id": str(one.id)}) for one in given])
    counts: dict[str, int] = {}
    for row in uow.execute(_INSERT, rows=rows):
        counts[row.reason] = counts.get(row.reason, 0) + 1
    return counts


def tell(uow: UnitOfWork, counts: Mapping[str, int]) -> None:
    """One signal of all that were set aside now."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    facts = {"count": sum(counts.values()), "reasons": reasons}
    signals.record(uow, SIGNAL, "costs", facts=facts)


def unreadable(entry_id: str, payload: bytes) -> list[SetAside]:
    """The lines of an entry as text, whatever they are."""
    return [_as_text(_named(entry_id, place), line) for place, line in enumerate(payload.split(b"\n")) if line]


def _of_line(identifier: UUID, line: bytes) -> SetAside:
    try:
        [found] = packing.asides_of(line)
    except (ValueError, TypeError):
        return _as_text(identifier, line)
    return SetAside(identifier, found.reason, found.detail, found.event_id, found.source, found.call)


def _as_text(identifier: UUID, line: bytes) -> SetAside:
    return SetAside(identifier, "unreadable", "", "", "drain", {"line": line.decode("utf-8", "replace")})


def _identifier(line: bytes) -> str:
    return line[:36].decode("utf-8", "replace")


def _named(entry_id: str, place: int | str) -> UUID:
    """Of a stream's entry its own time; of none, a new id."""
    millis = entry_id.partition("-")[0]
    if not millis.isdigit():
        return ids.uuid7()
    return ids.uuid7_named(_EPOCH + timedelta(milliseconds=int(millis)), f"{entry_id} {place}")

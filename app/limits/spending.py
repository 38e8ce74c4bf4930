"""Money that was spent: each call settles what was reserved for it, or is counted in every budget, once; and is put
into the stream from which it is written down, by the same script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from app.errors import Transient
from app.limits.budgets import Who


class Full(Transient):
    """The stream holds as much as it may: nothing was recorded."""


class Spent(NamedTuple):
    """One call: its id as canonical lower-case text, millionths of a dollar (None: unknown), seconds since 1970."""

    id: str
    amount: int | None
    at: float
    who: Who


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was done. `entry` None: every call was known already; `crossed`: a budget's threshold was reached."""

    entry: str | None
    fresh: int
    duplicates: int
    crossed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream: what was given to `record`, and the amounts that it counted."""

    id: str
    kind: str
    payload: bytes
    counted: bytes


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the stream. `oldest_at`: when its first entry came; None where nothing waits."""

    entries: int
    bytes: int
    oldest_at: datetime | None


def record(calls: Sequence[Spent], payload: bytes, *, kind: str = "calls", always: bool = False) -> Recorded:
    """Count the calls that are not known yet, and append `payload` to the stream: both, or nothing.

    `always`: append it also where every call is known. Raises Full, Transient.
    """
    raise NotImplementedError


def entries(count: int, after: str = "-") -> list[Entry]:
    """The oldest entries of the stream, or those after an entry. Raises Transient."""
    raise NotImplementedError


def drained(done: Sequence[Entry]) -> int:
    """Delete entries that are written down; how many were still there. Raises Transient."""
    raise NotImplementedError


def backlog() -> Backlog:
    """What waits. Raises Transient."""
    raise NotImplementedError


def agree(committed: Mapping[str, Mapping[str, tuple[datetime, int]]]) -> int:
    """Make counters what was committed, and what is in the stream, and what is reserved; how many differed.

    `committed`: by subject and counter, the start of its window and millionths of a dollar. Raises Transient.
    """
    raise NotImplementedError

"""UUIDv7 (RFC 9562): ids that sort by the moment they were made, so that tables can be partitioned by them."""

from __future__ import annotations

import os
import threading
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from app import clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def uuid7(at: datetime | None = None) -> uuid.UUID:
    """A new id whose first 48 bits are `at` (default: now) in milliseconds since 1970.

    Those that a process makes of now sort in the order in which they were made, also within a millisecond: a counter
    is where others have twelve random bits (RFC 9562, 6.2, method 1). So do those made of one given moment in a row.
    """
    rest = bytearray(os.urandom(10))
    moment = clock.now() if at is None else at
    rest[:2] = _turn(moment, rest[1], given=at is not None).to_bytes(2, "big")
    return _made(moment, bytes(rest))


_counting = threading.Lock()
_last: dict[bool, tuple[int, int]] = {True: (0, 0), False: (0, 0)}


def _turn(at: datetime, start: int, *, given: bool) -> int:
    """0 to 4095: one more than the last one of this millisecond."""
    millis = (at - _EPOCH) // timedelta(milliseconds=1)
    with _counting:
        last = _last[given]
        _last[given] = (millis, min(last[1] + 1, 0xFFF) if millis == last[0] else start)
        return _last[given][1]


def uuid7_named(at: datetime, name: str) -> uuid.UUID:
    """The id of what `name` calls and `at` dates: the same for both each time, so that it is kept once."""
    return _made(at, sha256(name.encode("utf-8", "surrogatepass")).digest()[:10])


def _made(at: datetime, rest: bytes) -> uuid.UUID:
    value = ((at - _EPOCH) // timedelta(milliseconds=1)) << 80 | int.from_bytes(rest, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return uuid.UUID(int=value)


def floor(at: datetime) -> uuid.UUID:
    """The smallest id of `at`'s millisecond: the bound of a time range over ids."""
    return uuid.UUID(int=((at - _EPOCH) // timedelta(milliseconds=1)) << 80)


def time_of(identifier: uuid.UUID) -> datetime:
    """The moment an id was made, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=identifier.int >> 80)

"""Scripts whose clock a test sets: the first line that asks the server for the time asks a key for it instead."""

from __future__ import annotations

from hashlib import sha1

from app.infra import redis
from app.limits import keys
from app.limits.wire import Script

CLOCK = "test:clock"
"""String: milliseconds since 1970."""

_ASKED = "local time = redis.call('TIME')"
_SET = f"local ms = tonumber(redis.call('GET', '{CLOCK}')) local time = {{math.floor(ms / 1000), ms % 1000 * 1000}}"


def clocked(name: str) -> Script:
    """The script of that name, by the clock that `set_clock` sets."""
    script = Script(name)
    assert script.text.count(_ASKED) == 1
    script.text = script.text.replace(_ASKED, _SET)
    script.sha = sha1(script.text.encode(), usedforsecurity=False).hexdigest().encode()
    return script


def set_clock(now: int) -> None:
    """From now on it is then, in milliseconds since 1970."""
    redis.client().set(CLOCK, now)


def begin() -> None:
    """An empty server that has lost nothing."""
    redis.client().flushall()
    redis.client().set(keys.EPOCH, "whole:1")

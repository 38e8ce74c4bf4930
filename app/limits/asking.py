"""Asking a script until it answers: what to do when Redis has lost its memory, or when the clocks disagree."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from app import clock
from app.errors import Transient
from app.limits import rebuild
from app.limits.wire import Script

Call = tuple[Sequence[str | bytes], Sequence[str | bytes | int]]
"""Keys and arguments of a script."""

_TRIES = 5
"""Of one call: after a loss of Redis counters come back first, and two calls may see two losses."""

_ahead = 0.0
"""Seconds by which the server's clock was found to be ahead of ours, where that mattered."""


def server_now() -> float:
    """Seconds since 1970 by the server's clock, as far as is known; calendar windows are chosen by it."""
    return clock.now().timestamp() + _ahead


def ask_all(
    script: Script, count: int, call: Callable[[int, float], Call], subjects: Callable[[int], Sequence[str]]
) -> list[Any]:
    """The answers to `count` calls, in one round trip when all is well. `call` makes one of them for a time.

    Raises Transient: then none is known.
    """
    found: dict[int, Any] = {}
    left = list(range(count))
    for _ in range(_TRIES):
        now = server_now()
        lost = False
        missing: list[str] = []
        for place, raw in zip(left, script.call_many([call(place, now) for place in left]), strict=True):
            answer = read(raw)
            match answer["v"]:
                case "lost":
                    lost = True
                case "unknown":
                    missing += subjects(place)
                case "clock":
                    _follow(answer["t"] / 1000)
                case _:
                    found[place] = answer
        left = [place for place in left if place not in found]
        if not left:
            return [found[place] for place in range(count)]
        if lost:
            rebuild.begin()
        if missing:
            rebuild.restore(missing)
    raise Transient("the counters are not whole yet")


def read(raw: bytes) -> Any:
    """A script's answer. A name that is no Unicode came in that way, and goes out so."""
    return json.loads(raw.decode("utf-8", "surrogatepass"))


def _follow(server: float) -> None:
    global _ahead
    _ahead = server - clock.now().timestamp()

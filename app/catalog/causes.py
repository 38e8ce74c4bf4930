"""Which services stand behind another one: whose loss explains its. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def behind(name: str, depends_on: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Everything that `name` depends on, near or far, the near first; only what `depends_on` knows."""
    found: dict[str, None] = {}
    waiting = list(depends_on.get(name, ()))
    while waiting:
        cause = waiting.pop(0)
        if cause in depends_on and cause not in found and cause != name:
            found[cause] = None
            waiting += depends_on[cause]
    return tuple(found)


def root_of(fallen: Sequence[str], depends_on: Mapping[str, tuple[str, ...]]) -> str | None:
    """The first of these that none of the others explains; in a circle the first; None of none."""
    others = set(fallen)
    free = (name for name in fallen if others.isdisjoint(behind(name, depends_on)))
    return next(free, fallen[0] if fallen else None)

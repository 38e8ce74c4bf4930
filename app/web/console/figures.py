"""Readings, times and states as pages show them: names as people say them, units, tones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.health.document import ENTRY_KEYS

MOST_READINGS = 8

_TONES = {
    "healthy": "ok",
    "up": "ok",
    "degraded": "warn",
    "unhealthy": "bad",
    "down": "bad",
}
GLYPHS = {"ok": "✓", "warn": "!", "bad": "✕", "calm": "?"}
"""What a tone says without colour."""

_UNITS = {
    "_mb": " MB",
    "_gb": " GB",
    "_percent": " %",
    "_ms": " ms",
    "_seconds": " s",
    "_s": " s",
    "_days": " d",
    "_bytes": " B",
}


def tone_of(status: str) -> str:
    """The colour's name of a state."""
    return _TONES.get(status, "calm")


def readings(given: Mapping[str, object], order: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """The plain figures of a service, named as people say them, in this order; nested ones are for the API."""
    found: dict[str, list[str]] = {}
    for key in plain_readings(given, order):
        name, unit = label(key)
        found.setdefault(name, []).append(figure(given[key]) + unit)
    return tuple((name, ", ".join(values)) for name, values in found.items())[:MOST_READINGS]


def plain_readings(given: Mapping[str, object], order: Sequence[str] = ()) -> list[str]:
    """The keys of a service's entry that are figures or words, in this order."""
    known = (key for key in sorted(given, key=lambda key: order.index(key) if key in order else len(order)))
    return [
        key
        for key in known
        if key not in ENTRY_KEYS and given[key] is not None and not isinstance(given[key], Mapping | list | tuple)
    ]


def label(key: str) -> tuple[str, str]:
    """(name, unit) of a key such as `size_mb`."""
    for ending, unit in _UNITS.items():
        if key.endswith(ending):
            return key.removesuffix(ending).replace("_", " "), unit
    return key.replace("_", " "), ""


def figure(value: object) -> str:
    """A value as people read it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.2f}".rstrip("0").rstrip(".")
        case int():
            return f"{value:,}"
        case _:
            return str(value)[:60]


def milliseconds(value: object) -> str:
    """`12 ms`, `3.4 ms`; a dash for nothing."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-"
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def percent(value: float | None) -> str:
    """`99.95 %`, never rounded up; a dash for nothing."""
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") + " %"

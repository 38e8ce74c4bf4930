"""The catalogue's routing as Alertmanager's configuration, for amtool and whoever else asks for it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta

from app.alerts.matchers import parse
from app.catalog import Inhibition, Route, Telling

NOBODY = "nobody"
"""Receiver of routes that have none: Alertmanager's root must name one."""

_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_UNITS = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def render(telling: Telling) -> str:
    """YAML: the routes, the receivers by name alone (their addresses and secrets stay here), and the inhibitions.

    Raises Invalid when the catalogue's matchers do not parse.
    """
    root = telling.routing
    names = [*telling.receivers, *([NOBODY] if root.receiver is None else [])]
    # Alertmanager refuses a root with matchers, or one after which others are tried.
    top = root.model_copy(update={"receiver": root.receiver or NOBODY, "matchers": (), "go_on": False})
    lines = ["route:", *_indented(_route(top)), "receivers:"]
    lines += [f"  - name: {_text(name)}" for name in dict.fromkeys(names)]
    if telling.inhibitions:
        lines.append("inhibit_rules:")
        for inhibition in telling.inhibitions:
            lines += _item(_inhibition(inhibition))
    return "\n".join(lines) + "\n"


def _route(route: Route) -> Iterator[str]:
    if route.receiver is not None:
        yield f"receiver: {_text(route.receiver)}"
    if route.matchers:
        yield f"matchers: {_matchers(route.matchers)}"
    if route.group_by is not None:
        yield f"group_by: {_texts(route.group_by)}"
    times = {
        "group_wait": route.group_wait,
        "group_interval": route.group_interval,
        "repeat_interval": route.repeat_interval,
    }
    yield from (f"{name}: {_duration(seconds)}" for name, seconds in times.items() if seconds is not None)
    if route.go_on:
        yield "continue: true"
    if route.routes:
        yield "routes:"
        for child in route.routes:
            yield from _item(_route(child))


def _inhibition(inhibition: Inhibition) -> Iterator[str]:
    yield f"source_matchers: {_matchers(inhibition.source)}"
    yield f"target_matchers: {_matchers(inhibition.target)}"
    if inhibition.equal:
        yield f"equal: {_texts(inhibition.equal)}"


def _item(lines: Iterable[str]) -> list[str]:
    """One entry of a list; a route that says nothing of its own is one too."""
    first, *rest = list(lines) or ["{}"]
    return [f"  - {first}", *(f"    {line}" for line in rest)]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _matchers(texts: Iterable[str]) -> str:
    return _texts(str(parse(text)) for text in texts)


def _texts(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    """YAML takes JSON's strings, except for pairs of surrogates and some characters that JSON leaves as they are."""
    plain = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", plain)


def _duration(seconds: float) -> str:
    """In the largest unit that leaves no rest, at least milliseconds: `4h`, `90s`, `1500ms`."""
    length = timedelta(milliseconds=round(seconds * 1000))
    if not length:
        return "0s"
    unit, size = next((unit, size) for unit, size in _UNITS.items() if not length % size)
    return f"{length // size}{unit}"

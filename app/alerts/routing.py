"""Where an alert goes: a tree of routes as Alertmanager's, and the groups it makes of what arrives. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from app.alerts.matchers import Matcher, parse
from app.alerts.matching import Index
from app.catalog import Route

ALL_LABELS = "..."
"""In `group_by`: every alert is a group of its own."""

_MASKS_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """A route that takes an alert, with what it has from the routes above it; the defaults are Alertmanager's.

    `path` is its place in the catalogue ("routing.routes[0]").
    """

    path: str
    receiver: str | None = None
    group_by: tuple[str, ...] = ()
    group_wait: timedelta = timedelta(seconds=30)
    group_interval: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)
    ladder: str | None = None


@dataclass(frozen=True, slots=True)
class _Node:
    """`number`: its bit in the index."""

    number: int
    target: Target
    matchers: tuple[Matcher, ...]
    goes_on: bool
    children: tuple[_Node, ...]


class Router:
    """A tree of routes, compiled once. Raises Invalid when its matchers do not parse; a root's own do not count."""

    def __init__(self, root: Route) -> None:
        nodes: list[_Node] = []
        self._root = _compiled(root, _inherited(root, "routing", None), (), nodes)
        self._index = Index([node.matchers for node in nodes])
        self._found: dict[int, tuple[Target, ...]] = {}

    def match(self, labels: Mapping[str, str]) -> tuple[Target, ...]:
        """Where an alert goes, depth first: a route takes what none below it does. The root takes the rest."""
        mask = self._index.matches(labels)
        found = self._found.get(mask)
        if found is None:
            if len(self._found) >= _MASKS_KEPT:
                self._found.clear()
            found = self._found[mask] = tuple(_taking(self._root, mask))
        return found


def group_labels(target: Target, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, by name, that alerts of one group have in common there; one that the alert lacks is left out."""
    names = labels if ALL_LABELS in target.group_by else target.group_by
    return {name: labels[name] for name in sorted(set(names)) if name in labels}


def thread(target: Target, labels: Mapping[str, str]) -> str:
    """64 hexadecimal digits for the group with these labels: the same in every process, whether or not it is stored."""
    plain = json.dumps([target.path, target.receiver, sorted(labels.items())], ensure_ascii=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def _compiled(route: Route, target: Target, matchers: tuple[Matcher, ...], nodes: list[_Node]) -> _Node:
    children = []
    for place, child in enumerate(route.routes):
        below = _inherited(child, f"{target.path}.routes[{place}]", target)
        children.append(_compiled(child, below, tuple(map(parse, child.matchers)), nodes))
    nodes.append(_Node(len(nodes), target, matchers, route.go_on, tuple(children)))
    return nodes[-1]


def _inherited(route: Route, path: str, above: Target | None) -> Target:
    """What the route says itself, and where it says nothing what the route above has."""
    base = above or Target(path)
    return Target(
        path,
        receiver=base.receiver if route.receiver is None else route.receiver,
        group_by=base.group_by if route.group_by is None else route.group_by,
        group_wait=_duration(route.group_wait, base.group_wait),
        group_interval=_duration(route.group_interval, base.group_interval),
        repeat_interval=_duration(route.repeat_interval, base.repeat_interval),
        ladder=base.ladder if route.ladder is None else route.ladder,
    )


def _duration(seconds: float | None, otherwise: timedelta) -> timedelta:
    return otherwise if seconds is None else timedelta(seconds=seconds)


def _taking(node: _Node, mask: int) -> Iterator[Target]:
    """The routes at or below this one, which matches, that take an alert with this mask."""
    taken = False
    for child in node.children:
        if mask >> child.number & 1:
            taken = True
            yield from _taking(child, mask)
            if not child.goes_on:
                break
    if not taken:
        yield node.target

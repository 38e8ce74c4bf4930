"""A fallen service explains the alerts of what depends on it, near or far. Pure.

Only what is no worse than its cause is explained by it: whoever sleeps through a warning about the cause must still be
woken by a critical symptom. A cause in maintenance explains nothing, because nobody is told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.catalog import SEVERITIES, AlertRule, Catalog, behind, root_of

DOWN = "health.down"
RECOVERY = "recovery."
"""How the kinds of signals begin whose alerts nothing holds back: they say that repairing failed."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Down:
    """An alert that says that a service is down, its labels as routes see them. `is_over`: it ended a moment ago."""

    service: str
    severity: str
    fingerprint: str
    labels: Labels
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Failing:
    """A service whose probes fail and that may yet turn out to be down; by `until` that is known."""

    service: str
    severity: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Explained:
    """What explains an alert. `fingerprint` is that of the cause's alert; None, with `until`: not yet confirmed."""

    reason: str
    fingerprint: str | None = None
    until: datetime | None = None


class Dependencies:
    """Who depends on whom, and what is down: asked for any number of alerts in one pass.

    `down` and `failing` are read when the first alert of a service comes that depends on another, so they may be
    generators that ask the database. `exempt`: names of alerts that nothing explains.
    """

    def __init__(
        self,
        depends_on: Mapping[str, tuple[str, ...]],
        down: Iterable[Down] = (),
        failing: Iterable[Failing] = (),
        *,
        exempt: frozenset[str] = frozenset(),
    ) -> None:
        self._depends_on = depends_on
        self._sources = (down, failing)
        self._exempt = exempt
        self._down: dict[str, Down] | None = None
        self._failing: dict[str, Failing] = {}
        self._now: datetime | None = None
        self._made: dict[tuple[str, int], Explained | None] = {}

    def of(self, labels: Labels, now: datetime, is_excused: Callable[[Labels], bool]) -> Explained | None:
        """What explains the alert with these labels. `is_excused`: is an alert with such labels in maintenance?"""
        service = labels.get("service", "")
        if not self._depends_on.get(service) or labels.get("alertname") in self._exempt:
            return None
        if now != self._now:
            self._now, self._made = now, {}
        key = (service, _rank(labels.get("severity", "")))
        if key not in self._made:
            self._made[key] = self._explain(*key, now, is_excused)
        return self._made[key]

    def _explain(
        self, service: str, rank: int, now: datetime, is_excused: Callable[[Labels], bool]
    ) -> Explained | None:
        down, names = self._loaded(), behind(service, self._depends_on)
        known = [down[name] for name in names if name in down]
        fallen = [one.service for one in known if _rank(one.severity) >= rank and not is_excused(one.labels)]
        root = root_of(fallen, self._depends_on)
        if root is not None:
            was = "was down until a moment ago" if down[root].is_over else "is down"
            return Explained(f"{root}, on which it depends, {was}", down[root].fingerprint)
        for name in names:
            one = self._failing.get(name)
            if one is not None and one.until > now and _rank(one.severity) >= rank and not is_excused(_of(one)):
                return Explained(f"{name}, on which it depends, fails and may be the cause", until=one.until)
        return None

    def _loaded(self) -> Mapping[str, Down]:
        if self._down is None:
            down, failing = self._sources
            ordered = sorted(down, key=lambda one: (not one.is_over, _rank(one.severity)))
            self._down = {one.service: one for one in ordered}
            self._failing = {one.service: one for one in failing}
        return self._down


NOTHING = Dependencies({})
"""Where nothing depends on anything."""


def of_catalog(catalog: Catalog, down: Iterable[Down], failing: Iterable[Failing] = ()) -> Dependencies:
    """By the dependencies and the rules of this catalogue."""
    depends_on = {name: service.depends_on for name, service in catalog.services.items()}
    return Dependencies(depends_on, down, failing, exempt=frozenset(_exempt(catalog.telling.alerts)))


def down_rules(rules: Mapping[str, AlertRule]) -> list[str]:
    """The names of the rules whose alerts say that a service is down, and never anything less."""
    return [name for name, rule in rules.items() if set(rule.on) == {DOWN}]


def _exempt(rules: Mapping[str, AlertRule]) -> Iterator[str]:
    return (name for name, rule in rules.items() if any(kind.startswith(RECOVERY) for kind in rule.on))


def _of(failing: Failing) -> Labels:
    return {"service": failing.service, "severity": failing.severity}


def _rank(severity: str) -> int:
    order: tuple[str, ...] = SEVERITIES
    return order.index(severity) if severity in order else 0

"""The catalogue's routing tree, compiled once for each catalogue; and what a group keeps of it when it opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from app.alerts import routing
from app.alerts.groups import LadderPlan, StepPlan, Timing
from app.alerts.routing import Router, Target
from app.catalog import BusinessHours, Catalog, Ladder, Team, Telling
from app.infra import ids

SYNTHETIC = "synthetic"
"""Label of test alerts: nobody is woken a second time for them."""
TEST_ALERT = "SMM_SyntheticAlert"
"""Their name: others mark by the same label what their own probes found, which is no test."""


class _ByDigest:
    """A catalogue that equals every other of the same digest."""

    def __init__(self, catalog: Catalog) -> None:
        self.telling = catalog.telling
        self._digest = catalog.digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and other._digest == self._digest


@lru_cache(maxsize=4)
def _router(catalog: _ByDigest) -> Router:
    return Router(catalog.telling.routing)


def router(catalog: Catalog) -> Router:
    """The tree of this catalogue."""
    return _router(_ByDigest(catalog))


@dataclass(frozen=True, slots=True)
class Placed:
    """A group that an alert belongs to: its thread, and its row should it be the first one there."""

    thread: str
    row: Mapping[str, Any]


def seen(labels: Mapping[str, str], *, severity: str, team: str | None, service: str | None) -> dict[str, str]:
    """The labels as routes and causes see them: severity, team and service in our words, said or not."""
    ours = {"severity": severity, "team": team, "service": service}
    return {**labels, **{name: value for name, value in ours.items() if value}}


def is_test(labels: Mapping[str, str]) -> bool:
    """Is it our own test alert?"""
    return SYNTHETIC in labels and labels.get("alertname") == TEST_ALERT


def place(catalog: Catalog, labels: Mapping[str, str], *, severity: str, team: str | None) -> list[Placed]:
    """The groups that an alert with these labels (as `seen`) belongs to, in the order of the routes."""
    return [_placed(catalog.telling, target, labels, severity, team) for target in router(catalog).match(labels)]


def _placed(telling: Telling, target: Target, labels: Mapping[str, str], severity: str, team: str | None) -> Placed:
    group_labels = routing.group_labels(target, labels)
    thread = routing.thread(target, group_labels)
    synthetic = is_test(labels)
    timing = Timing(
        timedelta() if synthetic else target.group_wait,
        target.group_interval,
        timedelta(days=30) if synthetic else target.repeat_interval,
    )
    ladder = None if synthetic else ladder_of(telling, target, severity)
    row = {
        "id": str(ids.uuid7()),
        "thread": thread,
        "route": target.path,
        "receiver": target.receiver,
        "labels": group_labels,
        "severity": severity,
        "team": team,
        "timing": timing_to_json(timing),
        "ladder": ladder_to_json(ladder, hours_of(telling, team)) if ladder is not None else None,
    }
    return Placed(thread, row)


def ladder_of(telling: Telling, target: Target, severity: str) -> Ladder | None:
    """The route's own ladder, else that of the severity."""
    return telling.ladders.get(target.ladder or severity)


def hours_of(telling: Telling, team: str | None) -> BusinessHours:
    """The team's, or the usual ones."""
    found: Team | None = telling.teams.get(team or "")
    return found.hours if found is not None else BusinessHours()


def timing_to_json(timing: Timing) -> dict[str, float]:
    """For the group's row."""
    return {
        "wait": timing.wait.total_seconds(),
        "interval": timing.interval.total_seconds(),
        "repeat": timing.repeat.total_seconds(),
    }


def timing_from_json(stored: Mapping[str, float]) -> Timing:
    """From the group's row."""
    return Timing(**{name: timedelta(seconds=stored[name]) for name in ("wait", "interval", "repeat")})


def ladder_to_json(ladder: Ladder, hours: BusinessHours) -> dict[str, Any]:
    """The ladder as it is now: what happens to the catalogue later does not derail it."""
    return {
        "name": ladder.name,
        "hours": hours.model_dump(mode="json", by_alias=True) if ladder.business_hours else None,
        "steps": [
            {"after": step.after_minutes * 60, "notify": list(step.notify), "repeat": step.repeat}
            for step in ladder.steps
        ],
    }


def ladder_from_json(stored: Mapping[str, Any] | None) -> LadderPlan | None:
    """From the group's row."""
    if stored is None:
        return None
    hours = stored["hours"]
    return LadderPlan(
        name=stored["name"],
        steps=tuple(
            StepPlan(timedelta(seconds=step["after"]), tuple(step["notify"]), step["repeat"])
            for step in stored["steps"]
        ),
        hours=None if hours is None else BusinessHours.model_validate(hours),
    )

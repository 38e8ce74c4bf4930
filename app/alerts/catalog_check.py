"""What is wrong with the catalogue's alerting beyond its shape: matchers, routes, ladders, receivers, rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from app.alerts import rules
from app.alerts.matchers import matches_empty, parse
from app.alerts.routing import ALL_LABELS
from app.catalog import SEVERITIES, Catalog, Route, Telling, did_you_mean, routes_of
from app.errors import Invalid, Problem

SHORTEST_DAY = timedelta(minutes=15)


def catalog_problems(catalog: Catalog) -> list[Problem]:
    """Every problem with its place: `routing.routes[0].matchers[1]`. For `catalog.use_check`."""
    telling = catalog.telling
    return [
        *_routes(telling.routing),
        *_inhibitions(telling),
        *_mutes(telling),
        *_ladders(telling),
        *_hours(telling),
        *_receivers(telling),
        *rules.catalog_problems(catalog),
    ]


def _routes(root: Route) -> Iterator[Problem]:
    if root.matchers:
        yield Problem("routing.matchers", "must not be there: the first route takes what no other one does")
    if root.go_on:
        yield Problem("routing.continue", "must not be there: nothing comes after the first route")
    for path, route in routes_of(root):
        yield from _unreadable(f"{path}.matchers", route.matchers)
        names = route.group_by or ()
        if ALL_LABELS in names and len(names) > 1:
            yield Problem(f"{path}.group_by", f'"{ALL_LABELS}" stands for all labels: it must be alone')
        for place, name in enumerate(names):
            if name in names[:place]:
                yield Problem(f"{path}.group_by[{place}]", "is there twice")


def _inhibitions(telling: Telling) -> Iterator[Problem]:
    for place, inhibition in enumerate(telling.inhibitions):
        yield from _unreadable(f"inhibitions[{place}].source", inhibition.source)
        yield from _unreadable(f"inhibitions[{place}].target", inhibition.target)


def _mutes(telling: Telling) -> Iterator[Problem]:
    for place, mute in enumerate(telling.mutes):
        path = f"mutes[{place}].matchers"
        unreadable = list(_unreadable(path, mute.matchers))
        yield from unreadable
        if not unreadable and matches_empty(map(parse, mute.matchers)):
            yield Problem(path, "would hold back what has none of these labels: one must ask for a value")


def _ladders(telling: Telling) -> Iterator[Problem]:
    """Ladders that nothing leads to: most likely a severity's name is written wrong, and nobody would be told."""
    if telling.routing == Route():
        return
    named = {route.ladder for _, route in routes_of(telling.routing)}
    for name in telling.ladders:
        if name not in SEVERITIES and name not in named:
            meant = did_you_mean(name, SEVERITIES)
            yield Problem(f"ladders.{name}", f"is neither a severity's nor named by any route{meant}")


def _hours(telling: Telling) -> Iterator[Problem]:
    """Days of a few moments: a ladder's minutes would take years of them, and the pipeline counts them one by one."""
    for name, team in telling.teams.items():
        begin, end = (datetime.combine(date.min, at) for at in (team.hours.begin, team.hours.to))
        if end - begin < SHORTEST_DAY:
            minutes = SHORTEST_DAY // timedelta(minutes=1)
            yield Problem(f"teams.{name}.hours", f"`to` must be at least {minutes} minutes after `from`")


def _receivers(telling: Telling) -> Iterator[Problem]:
    names = {name: set(_named_by(telling, name)) for name in telling.receivers}
    for name, ahead in names.items():
        reached: set[str] = set()
        while ahead:
            reached |= ahead
            ahead = {below for one in ahead for below in names.get(one, ())} - reached  # noqa: PLW2901
        if name in reached:
            yield Problem(f"receivers.{name}.notify", "leads back to itself")


def _named_by(telling: Telling, receiver: str) -> Iterator[str]:
    """The receivers that this one tells, directly or as a team's."""
    for recipient in telling.receivers[receiver].notify:
        kind, _, name = recipient.partition(":")
        if kind == "receiver":
            yield name
        team = telling.teams.get(name) if kind == "team" else None
        if team is not None and team.receiver is not None:
            yield team.receiver


def _unreadable(path: str, texts: Sequence[str]) -> Iterator[Problem]:
    for place, text in enumerate(texts):
        try:
            parse(text)
        except Invalid as error:
            yield Problem(f"{path}[{place}]", error.problems[0].message)

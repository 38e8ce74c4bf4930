"""The tables about telling people, from the file's tree; and what in them speaks of something that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from app.catalog.alerting import (
    CHANNEL_FIELDS,
    Alerting,
    AlertRule,
    BusinessHours,
    Channel,
    Condition,
    Contact,
    Inhibition,
    Ladder,
    Mute,
    Override,
    Person,
    Receiver,
    Rotation,
    Route,
    Step,
    Team,
    Telling,
)
from app.catalog.explain import did_you_mean, explain
from app.catalog.toml_lines import Path
from app.errors import Problem

CONSOLE = "console"
"""The kind of channel that only shows on our own pages."""

_NAMED: dict[str, type[BaseModel]] = {
    "channels": Channel,
    "people": Person,
    "teams": Team,
    "rotations": Rotation,
    "receivers": Receiver,
    "ladders": Ladder,
    "alerts": AlertRule,
}
_SINGLE: dict[str, type[BaseModel]] = {"alerting": Alerting, "routing": Route}
_LISTED: dict[str, type[BaseModel]] = {"inhibitions": Inhibition, "mutes": Mute}
TABLES = (*_NAMED, *_SINGLE, *_LISTED)

_MODELS: tuple[type[BaseModel], ...] = (
    *_NAMED.values(),
    *_SINGLE.values(),
    *_LISTED.values(),
    BusinessHours,
    Condition,
    Contact,
    Override,
    Step,
)
_KEYS = {field.alias or key for model in _MODELS for key, field in model.model_fields.items()}


def read(tree: Mapping[str, Any], references: Mapping[Path, str], problems: list[Problem]) -> Telling:
    """The tables of `tree`; what is wrong is added to `problems`, and what could not be read is left out."""
    found: dict[str, Any] = {}
    for table in _NAMED:
        found[table] = dict(_named(table, tree.get(table, {}), references, problems))
    for table, model in _SINGLE.items():
        if table in tree:
            made = _made(model, tree[table], (table,), problems)
            found |= {table: made} if made is not None else {}
    for table, model in _LISTED.items():
        found[table] = tuple(_listed(model, table, tree.get(table, []), problems))
    telling = Telling.model_construct(**{name: field.get_default(call_default_factory=True)
                                         for name, field in Telling.model_fields.items()} | found)  # fmt: skip
    problems += _dangling(telling, tree)
    return telling


def _named(
    table: str, written: object, references: Mapping[Path, str], problems: list[Problem]
) -> Iterator[tuple[str, BaseModel]]:
    if not isinstance(written, dict):
        problems.append(Problem(table, f"must be a table of tables, [{table}.NAME] each"))
        return
    for name, given in written.items():
        if not isinstance(given, dict):
            problems.append(Problem(f"{table}.{name}", "must be a table"))
            continue
        values = {**given, "name": name}
        if table == "channels":
            values = _channel(name, given, references)
        made = _made(_NAMED[table], values, (table, name), problems)
        if made is not None:
            yield name, made


def _channel(name: str, given: Mapping[str, Any], references: Mapping[Path, str]) -> dict[str, Any]:
    """A channel with the kind's own keys apart, and where its texts came from the environment."""
    mine: dict[Path, str] = {}
    for path, text in references.items():
        if path[:2] == ("channels", name):
            mine[path[2:] if path[2] in CHANNEL_FIELDS else ("options", *path[2:])] = text
    common = {key: value for key, value in given.items() if key in CHANNEL_FIELDS}
    options = {key: value for key, value in given.items() if key not in CHANNEL_FIELDS}
    return {**common, "name": name, "options": options, "references": mine}


def _listed(model: type[BaseModel], table: str, written: object, problems: list[Problem]) -> Iterator[BaseModel]:
    if not isinstance(written, list):
        problems.append(Problem(table, f"must be a list of tables, [[{table}]] each"))
        return
    for place, given in enumerate(written):
        made = _made(model, given, (table, place), problems)
        if made is not None:
            yield made


def _made(model: type[BaseModel], values: object, path: Path, problems: list[Problem]) -> BaseModel | None:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems += explain(error, path, known=_KEYS)
        return None


def _dangling(telling: Telling, tree: Mapping[str, Any]) -> Iterator[Problem]:
    """References to names that no table declares. A name whose table is broken counts as declared."""
    declared = {table: set(tree.get(table, {})) for table in _NAMED if isinstance(tree.get(table, {}), dict)}

    def missing(path: str, table: str, names: Iterable[str | None]) -> Iterator[Problem]:
        for name in names:
            if name is not None and name not in declared.get(table, set()):
                yield Problem(path, f"there is no [{table}.{name}]{did_you_mean(name, declared.get(table, ()))}")

    for channel in telling.channels.values():
        yield from missing(f"channels.{channel.name}.fallback", "channels", channel.fallback)
    for person in telling.people.values():
        path = f"people.{person.name}.contacts"
        yield from missing(path, "channels", [contact.channel for contact in person.contacts])
    for team in telling.teams.values():
        yield from missing(f"teams.{team.name}.rotation", "rotations", [team.rotation])
        yield from missing(f"teams.{team.name}.lead", "people", [team.lead])
        yield from missing(f"teams.{team.name}.receiver", "receivers", [team.receiver])
    for rotation in telling.rotations.values():
        yield from missing(f"rotations.{rotation.name}.members", "people", rotation.members)
        people = [override.person for override in rotation.overrides]
        yield from missing(f"rotations.{rotation.name}.overrides", "people", people)
    for path, recipients in _recipients(telling):
        for recipient in recipients:
            kind, _, name = recipient.partition(":")
            table = _RECIPIENT_TABLES.get(kind)
            if table is not None:
                yield from missing(path, table, [name])
    for path, route in routes_of(telling.routing):
        yield from missing(f"{path}.receiver", "receivers", [route.receiver])
        yield from missing(f"{path}.ladder", "ladders", [route.ladder])


_RECIPIENT_TABLES = {
    "channel": "channels",
    "person": "people",
    "on-call": "rotations",
    "team": "teams",
    "receiver": "receivers",
}


def _recipients(telling: Telling) -> Iterator[tuple[str, tuple[str, ...]]]:
    for receiver in telling.receivers.values():
        yield f"receivers.{receiver.name}.notify", receiver.notify
    for ladder in telling.ladders.values():
        for place, step in enumerate(ladder.steps):
            yield f"ladders.{ladder.name}.steps[{place}].notify", step.notify
    yield "alerting.synthetic", telling.alerting.synthetic


def outward(telling: Telling) -> set[str]:
    """Enabled channels that reach beyond the console and are told of something: by a receiver, a ladder or a person."""
    named = {
        name
        for _, recipients in _recipients(telling)
        for kind, _, name in (recipient.partition(":") for recipient in recipients)
        if kind == "channel"
    }
    named |= {contact.channel for person in telling.people.values() for contact in person.contacts}
    named |= {name for channel in telling.channels.values() if channel.name in named for name in channel.fallback}
    return {
        channel.name
        for channel in telling.channels.values()
        if channel.enabled and channel.kind != CONSOLE and channel.name in named
    }


def routes_of(route: Route, path: str = "routing") -> Iterator[tuple[str, Route]]:
    """The route and all below it, each with its place in the file."""
    yield path, route
    for place, child in enumerate(route.routes):
        yield from routes_of(child, f"{path}.routes[{place}]")

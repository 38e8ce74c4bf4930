"""Who is told of a fall when the engine cannot ask its database: the engine's own rules, routes and threads. No I/O.

What comes out has the labels, the thread and the group that the engine would have made, so that it goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from app.alerts import dependencies, links, muted, recipients, routes, rules
from app.alerts.core import ACTIONS_TAKEN, State
from app.alerts.dependencies import Down
from app.alerts.groups import Why
from app.alerts.imported import Call, Page, PageState
from app.alerts.muting import Muting
from app.alerts.recipients import Destination
from app.alerts.rendering import About, Subject, message_of
from app.alerts.rules import Raise
from app.catalog import Catalog
from app.config import Settings
from app.health.announcing import facts_of, labels_of
from app.health.core import Kind
from app.infra import ids
from app.infra.text import json_safe
from app.notify import Event, Message
from app.recovery import told as repairs
from app.signals import Signal
from app.watchdog.falls import Failure, Trouble
from app.watchdog.known import Known

NOTE = "Sent by the watchdog: the engine itself is in trouble."
ACTED_NOTE = "The watchdog has done something about it: see the actions taken."
NOBODY = "nobody is configured to be told"


@dataclass(frozen=True, slots=True)
class Look:
    """What a plan is made of besides the trouble. `taken`: what was lately done for its service, a line each."""

    catalog: Catalog
    known: Known
    config: Settings
    now: datetime
    taken: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to call now. `held`: why nobody is, or not about everything; it may end without a word."""

    calls: tuple[Call, ...] = ()
    held: tuple[str, ...] = ()


def plan(fall: Trouble, look: Look, *, called: Iterable[Call] = ()) -> Plan:
    """The calls of one fall, or of a repair that did not help. `called`: those of others, for they may explain it.

    Raises Misconfigured when links cannot be signed.
    """
    if fall.spec.in_maintenance(look.now):
        return Plan(held=("maintenance",))
    raises = _raises(fall, look)
    if not raises:
        return Plan(held=("no rule raises an alert for it",))
    standing = [call for call in called if not call.over]
    present = _muting(look, standing)
    held = {raised.name: _held(raised, present, fall, look) for raised in raises}
    audible = [raised for raised in raises if held[raised.name] is None]
    calls = tuple(_calls(audible, fall, look, told={call.thread for call in standing}))
    called_of = {raised.name for call in calls for raised in call.raised}
    return Plan(
        calls,
        tuple(f"{raised.name}: {held[raised.name] or NOBODY}" for raised in raises if raised.name not in called_of),
    )


def acted(calls: Sequence[Call], look: Look) -> Call | None:
    """One more message to those who were told by these calls of one thread: what was done since. None: nothing new."""
    last = calls[-1]
    known = {raised.annotations.get(ACTIONS_TAKEN) for raised in last.raised}
    told = {
        (page.channel, page.destination): Destination(page.channel, page.destination or None, page.recipient)
        for call in calls
        for page in call.pages
        if page.state in (PageState.SENDING, PageState.DELIVERED)
    }
    if not look.taken or known == {look.taken} or not told:
        return None
    raises = tuple(_with_actions(raised, look.taken) for raised in last.raised)
    message = _message(raises, last.group, look, Event.UPDATED, note=f"{ACTED_NOTE} {NOTE}")
    pages = tuple(_page(address, message) for address in told.values())
    return replace(last, id=ids.uuid7(look.now), raised=raises, told_at=look.now, pages=pages, why=str(Why.ACTED))


def reworded(call: Call, page: Page, look: Look) -> Page:
    """A page that has not arrived, with what was done meanwhile."""
    said = Message.from_json(page.message)
    raises = [_with_actions(raised, look.taken) for raised in call.raised]
    message = _message(raises, call.group, look, said.event, note=said.note)
    return replace(page, message=replace(message, key=said.key).as_json())


def signal_of(fall: Trouble, now: datetime) -> Signal:
    """The signal that the recorder will write of it, but for its number and its incident."""
    if isinstance(fall, Failure):
        said = repairs.conclusion(fall.run)
        return Signal(ids.uuid7(now), said.kind, fall.run.service, 0, dict(said.labels), _as_stored(said.facts), now)
    service = fall.spec.service
    labels = labels_of(
        service=service.name,
        kind=service.kind,
        severity=service.severity,
        essential=service.essential,
        expected=fall.spec.in_maintenance(fall.result.started_at),
    )
    facts = facts_of(fall.result, fall.decision, None)
    return Signal(ids.uuid7(now), Kind.DOWN, service.name, 0, labels, _as_stored(facts), now)


def _as_stored(facts: Mapping[str, Any]) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(json.dumps(json_safe(facts), default=str))
    return stored


def _raises(fall: Trouble, look: Look) -> list[Raise]:
    signal = signal_of(fall, look.now)
    found = rules.matching(look.catalog.telling, signal, teams=rules.teams_of(look.catalog))
    return [_with_actions(item, look.taken) for item in found if isinstance(item, Raise)]


def _with_actions(raised: Raise, taken: str) -> Raise:
    return replace(raised, annotations=raised.annotations | {ACTIONS_TAKEN: taken}) if taken else raised


def _muting(look: Look, standing: Sequence[Call]) -> Muting:
    telling = look.catalog.telling
    raises = [raised for call in standing for raised in call.raised]
    says_down = dependencies.down_rules(telling.alerts)
    down = [
        Down(raised.service, raised.severity, raised.fingerprint, raised.labels)
        for raised in raises
        if raised.rule in says_down and raised.service is not None
    ]
    return Muting(
        look.known.silences,
        telling.inhibitions,
        telling.mutes,
        [(raised.fingerprint, raised.labels) for raised in raises],
        dependencies=dependencies.of_catalog(look.catalog, down),
    )


def _held(raised: Raise, present: Muting, fall: Trouble, look: Look) -> str | None:
    """Why nobody is told of this alert now."""
    if raised.count > 1:
        return f"it takes {raised.count} signals"
    if look.now < fall.began_at + raised.wait:
        return f"it has not lasted for {raised.wait.total_seconds():g} s yet"
    row = SimpleNamespace(
        labels=raised.labels, severity=raised.severity, team=raised.team, service=raised.service, quiet_until=None
    )
    hours = muted.hours_of(look.catalog.telling, raised.severity, raised.team)
    mutes = muted.held_of(present, row, look.now, hours).mutes
    return f"{mutes[0].by}, {mutes[0].reason}" if mutes else None


def _calls(raises: Sequence[Raise], fall: Trouble, look: Look, *, told: Container[str]) -> Iterator[Call]:
    """One call for each thread that takes an alert of it and has somebody to tell. `told`: threads told of others."""
    placed: dict[str, tuple[Mapping[str, Any], list[Raise]]] = {}
    for raised in raises:
        for place in routes.place(look.catalog, raised.labels, severity=raised.severity, team=raised.team):
            placed.setdefault(place.thread, (place.row, []))[1].append(raised)
    for thread, (group, members) in placed.items():
        message = _message(members, group, look, Event.UPDATED if thread in told else Event.FIRING)
        pages = tuple(_page(address, message) for address in _addresses(group, look))
        if pages:
            yield Call(
                id=ids.uuid7(look.now),
                fall=fall.key,
                service=fall.spec.name,
                raised=tuple(members),
                group=group,
                told_at=look.now,
                pages=pages,
            )


def _addresses(group: Mapping[str, Any], look: Look) -> list[Destination]:
    if not group["receiver"]:
        return []
    found = recipients.expand(
        (f"receiver:{group['receiver']}",),
        telling=look.catalog.telling,
        team=group["team"],
        now=look.now,
        overrides=look.known.swaps,
    )
    return [address for address in found.destinations if address.enabled]


def _message(
    raises: Sequence[Raise], group: Mapping[str, Any], look: Look, event: Event, *, note: str = NOTE
) -> Message:
    about = About(
        key="",
        thread=group["thread"],
        event=event,
        at=look.now,
        receiver=group["receiver"] or "",
        route=group["route"],
        group_labels=group["labels"],
        external_url=look.config.external_url,
        note=note,
        links=links.of_group(look.config, UUID(str(group["id"])), look.now),
    )
    return message_of(about, [_subject(raised, look.now) for raised in raises])


def _subject(raised: Raise, now: datetime) -> Subject:
    return Subject(
        id=ids.uuid7(now),
        fingerprint=raised.fingerprint,
        name=raised.name,
        severity=raised.severity,
        state=State.FIRING,
        labels=raised.labels,
        annotations=raised.annotations,
        starts_at=raised.starts_at,
        team=raised.team,
        service=raised.service,
    )


def _page(address: Destination, message: Message) -> Page:
    key = ids.uuid7()
    return Page(
        id=key,
        recipient=address.recipient,
        channel=address.channel,
        destination=address.to or "",
        message=replace(message, key=str(key)).as_json(),
    )


def instead(call: Call, page: Page, catalog: Catalog) -> Page | None:
    """The same through the next channel that can and does not say it already; None when there is no other way."""
    channels = catalog.telling.channels
    used = {(other.channel, other.destination) for other in call.pages}
    passed = {other.channel for other in call.pages if other.recipient == page.recipient}
    for name in _ways(call, page, catalog):
        destination = _address(page.recipient, name, catalog)
        if name not in channels or not channels[name].enabled or name in passed or (name, destination) in used:
            continue
        said = Message.from_json(page.message)
        note = f"{said.note}\nSent here because {page.channel} could not deliver it."
        made = _page(Destination(name, destination or None, page.recipient), replace(said, note=note))
        return replace(made, fallback_of=page.id)
    return None


def _ways(call: Call, page: Page, catalog: Catalog) -> Iterator[str]:
    """The channel's own fallbacks, then those of the channels it stands in for."""
    by_id = {other.id: other for other in call.pages}
    link: Page | None = page
    while link is not None:
        channel = catalog.telling.channels.get(link.channel)
        yield from channel.fallback if channel is not None else ()
        link = by_id.get(link.fallback_of) if link.fallback_of is not None else None


def _address(recipient: str, channel: str, catalog: Catalog) -> str:
    """A person's own address there, where there is one; else the channel's only or usual one ("")."""
    kind, _, name = recipient.partition(":")
    person = catalog.telling.people.get(name) if kind == "person" else None
    contacts = person.contacts if person is not None else ()
    return next((contact.to or "" for contact in contacts if contact.channel == channel), "")

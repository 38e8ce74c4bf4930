"""From the words of receivers and ladders to addresses: who is told, by which channel, and who cannot be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.alerts import oncall
from app.alerts.oncall import Exchange
from app.catalog import Rotation, Team, Telling


@dataclass(frozen=True, slots=True)
class Destination:
    """One address. `recipient` is the word that named it, `person` who is reached there; `to` None: the channel's own.

    `enabled` is false when the catalogue has switched the channel off.
    """

    channel: str
    to: str | None
    recipient: str
    person: str | None = None
    enabled: bool = True

    @property
    def shown(self) -> str:
        """`pager`, or `person:ann by pager`."""
        return shown(self.recipient, self.channel)


def shown(recipient: str, channel: str) -> str:
    """Who is told by what, in few words."""
    return channel if recipient == f"channel:{channel}" else f"{recipient} by {channel}"


@dataclass(frozen=True, slots=True)
class Expansion:
    """Every address once, in the order in which it was named; and why somebody who was named is not told."""

    destinations: tuple[Destination, ...]
    reasons: tuple[str, ...] = ()


def expand(
    recipients: Iterable[str],
    *,
    telling: Telling,
    team: str | None,
    now: datetime,
    overrides: Mapping[str, Sequence[Exchange]],
) -> Expansion:
    """Who these recipients are now. `team` is the alert's; `overrides` are the stored ones, by rotation."""
    expanding = _Expanding(telling, team, now, overrides)
    found: dict[tuple[str, str | None], Destination] = {}
    for recipient in recipients:
        for destination in expanding.of(recipient):
            found.setdefault((destination.channel, destination.to), destination)
    return Expansion(tuple(found.values()), tuple(dict.fromkeys(expanding.reasons)))


@dataclass(slots=True)
class _Expanding:
    telling: Telling
    team: str | None
    now: datetime
    overrides: Mapping[str, Sequence[Exchange]]
    reasons: list[str] = field(default_factory=list)
    entered: set[str] = field(default_factory=set)
    """Receivers that were expanded: again they would add nothing, and those that name one another would never end."""

    def of(self, recipient: str) -> Iterator[Destination]:
        kind, _, name = recipient.partition(":")
        match kind:
            case "channel":
                yield from self._channel(name, None, recipient, None)
            case "person":
                yield from self._person(name, recipient)
            case "on-call":
                yield from self._on_call(name, recipient)
            case "receiver":
                yield from self._receiver(name)
            case "team":
                yield from self._team(name)
            case "team-on-call" | "team-lead":
                yield from self._of_team(recipient)
            case _:
                self.reasons.append(f"{recipient} is no recipient")

    def _channel(self, name: str, to: str | None, recipient: str, person: str | None) -> Iterator[Destination]:
        channel = self.telling.channels.get(name)
        if channel is None:
            self.reasons.append(f"{recipient}: there is no channel {name}")
            return
        yield Destination(name, to, recipient, person, channel.enabled)

    def _person(self, name: str, recipient: str) -> Iterator[Destination]:
        person = self.telling.people.get(name)
        if person is None:
            self.reasons.append(f"{recipient}: there is no person {name}")
            return
        for contact in person.contacts:
            yield from self._channel(contact.channel, contact.to, recipient, name)

    def _on_call(self, name: str, recipient: str) -> Iterator[Destination]:
        rotation = self.telling.rotations.get(name)
        if rotation is None:
            self.reasons.append(f"{recipient}: there is no rotation {name}")
            return
        yield from self._person(self._turn(rotation), recipient)

    def _turn(self, rotation: Rotation) -> str:
        """Whose turn it is; an override for somebody who is no longer in the catalogue does not leave nobody."""
        stored = self.overrides.get(rotation.name, ())
        known = [override for override in stored if override.person in self.telling.people]
        if len(known) < len(stored):
            self.reasons.append(f"on-call:{rotation.name}: an override for somebody unknown does not count")
        return oncall.who(rotation, self.now, known).person

    def _receiver(self, name: str) -> Iterator[Destination]:
        receiver = self.telling.receivers.get(name)
        if receiver is None:
            self.reasons.append(f"receiver:{name}: there is no receiver {name}")
            return
        if name in self.entered:
            return
        self.entered.add(name)
        for recipient in receiver.notify:
            yield from self.of(recipient)

    def _team(self, name: str) -> Iterator[Destination]:
        """A team by its name: its receiver, else whose turn it is there, else its lead."""
        team = self.telling.teams.get(name)
        if team is None:
            self.reasons.append(f"team:{name}: there is no team {name}")
        elif team.receiver is not None:
            yield from self._receiver(team.receiver)
        else:
            yield from self._on_call_or_lead(team, f"team:{name}")

    def _of_team(self, recipient: str) -> Iterator[Destination]:
        """`team-on-call` and `team-lead` of the alert's own team."""
        if not self.team:
            self.reasons.append(f"{recipient}: the alert has no team")
            return
        team = self.telling.teams.get(self.team)
        if team is None:
            self.reasons.append(f"{recipient}: there is no team {self.team}")
        elif recipient == "team-on-call":
            yield from self._on_call_or_lead(team, recipient)
        elif team.lead is None:
            self.reasons.append(f"{recipient}: team {team.name} has no lead")
        else:
            yield from self._person(team.lead, recipient)

    def _on_call_or_lead(self, team: Team, recipient: str) -> Iterator[Destination]:
        if team.rotation is not None:
            yield from self._on_call(team.rotation, recipient)
        elif team.lead is not None:
            yield from self._person(team.lead, recipient)
        else:
            self.reasons.append(f"{recipient}: team {team.name} has neither a rotation nor a lead")

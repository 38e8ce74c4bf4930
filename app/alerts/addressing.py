"""To whom something is told of a group: addresses, from the words of routes and ladders or from the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from app.alerts import ledger, overrides, recipients, routes
from app.alerts.groups import Tell
from app.alerts.recipients import Destination
from app.alerts.rows import group_of
from app.catalog import Catalog, Telling
from app.infra.db import UnitOfWork
from app.notify.message import Event
from app.notify.specs import ChannelSpec


@dataclass(frozen=True, slots=True)
class Pass:
    """What one look at the groups is made of."""

    now: datetime
    hold_until: datetime | None
    catalog: Catalog
    channels: Mapping[str, ChannelSpec]


def addresses(
    uow: UnitOfWork, row: Row[Any], members: Sequence[Row[Any]], tell: Tell, look: Pass, *, event: Event
) -> tuple[list[Destination], Sequence[str]]:
    """Who is told (the route's receiver, the step's recipients, or all who were told before), and why others are not.

    `event` is what they are told. Where the receiver reaches nobody, the first step of the ladder that does takes its
    place.
    """
    if tell.notify == ():
        known = [
            Destination(address.channel, address.destination or None, address.recipient)
            for address in ledger.told_addresses(uow.session, row.id)
        ]
        return [address for address in known if _wants(address, event, look, test=is_test(members))], ()
    swaps = overrides.current(uow.session, look.now)
    reasons: list[str] = []
    for names in _words(row, members, tell, look.catalog.telling):
        found = recipients.expand(names, telling=look.catalog.telling, team=row.team, now=look.now, overrides=swaps)
        reasons += found.reasons
        reached = [address for address in found.destinations if address.enabled]
        if reached:
            return reached, reasons
    return [], reasons


def _words(row: Row[Any], members: Sequence[Row[Any]], tell: Tell, telling: Telling) -> Iterator[tuple[str, ...]]:
    """The recipients, and those who take their place where they are nobody."""
    if tell.notify is not None:
        yield tell.notify
        return
    if telling.alerting.synthetic and is_test(members):
        yield telling.alerting.synthetic
        return
    if row.receiver:
        yield (f"receiver:{row.receiver}",)
    ladder = group_of(row).ladder
    for step in ladder.steps if ladder is not None else ():
        yield step.notify


def is_test(members: Sequence[Row[Any]]) -> bool:
    """Are all of them test alerts of our own?"""
    return all(routes.is_test(member.labels) for member in members)


def _wants(address: Destination, event: Event, look: Pass, *, test: bool) -> bool:
    """Is this channel told of answers and of ends? One that left the catalogue is not.

    The end of a test is only for programs, which would keep it open; people have seen that it arrived.
    """
    spec = look.channels.get(address.channel)
    if spec is None or (test and not spec.module.DEDUPLICATES):
        return False
    match event:
        case Event.ACKNOWLEDGED:
            return spec.module.ACKNOWLEDGES
        case Event.RESOLVED:
            return spec.channel.send_resolved
        case _:
            return True

"""Whether a notification is still worth sending when its turn comes. Pure; the answer is the reason not to."""

from __future__ import annotations

from dataclasses import dataclass

from app.notify.message import Event

ABOUT_WHAT_WAS_TOLD = (Event.ACKNOWLEDGED, Event.RESOLVED)
REMINDERS = (Event.REPEATED, Event.ESCALATED)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known at that moment of the group, and of this address as far as this group goes.

    `in_doubt`: an earlier try of this very message may have arrived. `told`, `maybe_told`: something of the group has,
    or may have, arrived there. `end_told`: its end has. `begun_anew`: so has, or may have, something of a later group
    in its place.
    """

    event: Event
    closed: bool = False
    acknowledged: bool = False
    in_doubt: bool = False
    told: bool = False
    maybe_told: bool = False
    end_told: bool = False
    begun_anew: bool = False


def reason_to_skip(standing: Standing) -> str | None:
    """Why not to send it; None: send it.

    A message that may have arrived is tried on: its receiver must not be left with half of it.
    """
    if standing.event is Event.TEST:
        return None
    if standing.event in ABOUT_WHAT_WAS_TOLD:
        if standing.begun_anew:  # where both are one incident, it would answer or end the new one
            return "it has begun anew before this could be sent"
        known = standing.maybe_told or standing.in_doubt
        return None if known else "nothing of it had been told here"
    if standing.end_told:
        return "its end was told here already"
    if standing.in_doubt:
        return None
    reminds = standing.event in REMINDERS
    if standing.closed and (reminds or not standing.told):
        return "it was over before this could be sent"
    if standing.acknowledged and reminds:
        return "somebody answered before this could be sent"
    return None

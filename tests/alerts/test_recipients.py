"""From the words of receivers and ladders to addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from app.alerts.oncall import Exchange, Swap
from app.alerts.recipients import Destination, Expansion, expand
from app.catalog import Telling, parse

NOW = datetime(2026, 3, 6, 12, tzinfo=UTC)
CATALOGUE = """
[services.web]
kind = "http"

[channels.slack]
kind = "slack"
[channels.mail]
kind = "email"
[channels.sms]
kind = "webhook"
enabled = false

[people.ann]
contacts = [{channel = "mail", to = "ann@example.com"}, {channel = "sms", to = "+1"}]
[people.bob]
contacts = [{channel = "mail", to = "bob@example.com"}]
[people.eve]
contacts = [{channel = "mail", to = "eve@example.com"}]

[rotations.data]
members = ["ann", "bob"]
start = 2026-03-02

[teams.data]
rotation = "data"
lead = "eve"
[teams.web]
lead = "eve"
receiver = "web"
[teams.empty]
[teams.led]
lead = "eve"

[receivers.web]
notify = ["channel:slack", "team-on-call"]
[receivers.all]
notify = ["receiver:web", "receiver:loop", "person:ann"]
[receivers.loop]
notify = ["team:web", "receiver:all", "channel:mail"]
"""
ANN = Destination("mail", "ann@example.com", "person:ann", "ann")
ANNS_PHONE = Destination("sms", "+1", "person:ann", "ann", enabled=False)
SLACK = Destination("slack", None, "channel:slack")


@pytest.fixture(scope="module")
def telling() -> Telling:
    return parse(CATALOGUE).telling


def expanded(
    telling: Telling,
    *recipients: str,
    team: str | None = "data",
    overrides: Mapping[str, Sequence[Exchange]] | None = None,
) -> Expansion:
    return expand(recipients, telling=telling, team=team, now=NOW, overrides=overrides or {})


def told(expansion: Expansion) -> list[tuple[str, str | None]]:
    return [(destination.person or destination.channel, destination.to) for destination in expansion.destinations]


def test_a_channel_is_told_at_its_own_address(telling: Telling) -> None:
    assert expanded(telling, "channel:slack") == Expansion((SLACK,))


def test_a_person_is_told_in_every_way_and_a_channel_switched_off_is_shown(telling: Telling) -> None:
    assert expanded(telling, "person:ann") == Expansion((ANN, ANNS_PHONE))


def test_whoever_is_on_call_is_told(telling: Telling) -> None:
    assert told(expanded(telling, "on-call:data"))[0] == ("ann", "ann@example.com")
    week = {"data": [Swap("bob", NOW, NOW + timedelta(days=1))]}
    assert told(expanded(telling, "on-call:data", overrides=week)) == [("bob", "bob@example.com")]


def test_an_override_for_somebody_unknown_leaves_the_turn_as_it_was(telling: Telling) -> None:
    swaps = {"data": [Swap("bob", NOW, NOW + timedelta(days=1)), Swap("zoe", NOW, NOW + timedelta(days=1))]}
    found = expanded(telling, "on-call:data", overrides=swaps)
    assert told(found) == [("bob", "bob@example.com")]
    assert found.reasons == ("on-call:data: an override for somebody unknown does not count",)


def test_a_team_by_its_name_is_its_receiver_else_its_turn_else_its_lead(telling: Telling) -> None:
    assert told(expanded(telling, "team:web"))[0] == ("slack", None)
    assert told(expanded(telling, "team:data", team=None))[0] == ("ann", "ann@example.com")
    assert told(expanded(telling, "team:led", team=None)) == [("eve", "eve@example.com")]
    assert expanded(telling, "team:empty").reasons == ("team:empty: team empty has neither a rotation nor a lead",)


def test_the_alerts_own_team_has_somebody_on_call_else_a_lead_else_nobody(telling: Telling) -> None:
    assert told(expanded(telling, "team-on-call"))[0] == ("ann", "ann@example.com")
    assert told(expanded(telling, "team-on-call", team="led")) == [("eve", "eve@example.com")]
    assert expanded(telling, "team-on-call", team="empty") == Expansion(
        (), ("team-on-call: team empty has neither a rotation nor a lead",)
    )


def test_the_alerts_own_team_has_a_lead_or_not(telling: Telling) -> None:
    assert told(expanded(telling, "team-lead")) == [("eve", "eve@example.com")]
    assert expanded(telling, "team-lead", team="empty").reasons == ("team-lead: team empty has no lead",)


@pytest.mark.parametrize("recipient", ["team-on-call", "team-lead"])
def test_without_a_known_team_nobody_is_told_and_that_is_said(telling: Telling, recipient: str) -> None:
    assert expanded(telling, recipient, team=None) == Expansion((), (f"{recipient}: the alert has no team",))
    assert expanded(telling, recipient, team="") == Expansion((), (f"{recipient}: the alert has no team",))
    assert expanded(telling, recipient, team="x") == Expansion((), (f"{recipient}: there is no team x",))


def test_every_address_is_told_once_under_the_word_that_named_it_first(telling: Telling) -> None:
    found = expanded(telling, "channel:slack", "person:ann", "receiver:web", "team-on-call", "on-call:data")
    assert found == Expansion((SLACK, ANN, ANNS_PHONE))


def test_the_same_channel_at_two_addresses_is_two_destinations(telling: Telling) -> None:
    found = expanded(telling, "channel:mail", "person:bob", "person:eve")
    assert told(found) == [("mail", None), ("bob", "bob@example.com"), ("eve", "eve@example.com")]


def test_receivers_that_name_one_another_come_to_an_end(telling: Telling) -> None:
    found = expanded(telling, "receiver:all")
    assert told(found) == [("slack", None), ("ann", "ann@example.com"), ("ann", "+1"), ("mail", None)]
    assert found.reasons == ()


def test_who_left_the_catalogue_is_not_told_and_that_is_said(telling: Telling) -> None:
    gone = ["channel:x", "person:x", "on-call:x", "team:x", "receiver:x", "pager"]
    found = expanded(telling, *gone, *gone)
    assert found.destinations == ()
    assert found.reasons == (
        "channel:x: there is no channel x",
        "person:x: there is no person x",
        "on-call:x: there is no rotation x",
        "team:x: there is no team x",
        "receiver:x: there is no receiver x",
        "pager is no recipient",
    )

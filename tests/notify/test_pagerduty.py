"""What PagerDuty gets: one incident a thread, opened, acknowledged and resolved under one key."""

from __future__ import annotations

import json

import pytest

from app.notify import Event, send
from app.notify.channels import pagerduty
from app.notify.content import REPEAT
from app.notify.text import utf16_units
from tests.notify.messages import HOSTILE, THREAD, delivery, message
from tests.notify.servers import ROUTING_KEY, ChannelServer, Scripted


@pytest.mark.parametrize(
    ("event", "action"),
    [
        (Event.FIRING, "trigger"),
        (Event.UPDATED, "trigger"),
        (Event.REPEATED, "trigger"),
        (Event.ESCALATED, "trigger"),
        (Event.TEST, "trigger"),
        (Event.ACKNOWLEDGED, "acknowledge"),
        (Event.RESOLVED, "resolve"),
    ],
)
def test_every_event_of_a_thread_has_the_same_key(event: Event, action: str, server: ChannelServer) -> None:
    outcome = send(server.spec("pagerduty"), delivery(message(event=event)))
    request = server.requests[0]
    assert request.path == "/v2/enqueue"
    assert (request.json["routing_key"], request.json["event_action"], request.json["dedup_key"]) == (
        ROUTING_KEY, action, THREAD
    )  # fmt: skip
    assert ("payload" in request.json) == (action == "trigger")
    assert outcome.provider_id == THREAD


def test_an_incident_says_what_why_and_since_when(server: ChannelServer) -> None:
    send(server.spec("pagerduty"), delivery())
    body = server.requests[0].json
    assert body["payload"] == {
        "summary": "postgres is down: Postgres refuses connections",
        "source": "postgres",
        "severity": "critical",
        "timestamp": "2026-03-01T12:00:05.000Z",
        "component": "postgres",
        "group": "database",
        "class": "SMM_DatabaseConnectionFailure",
        "custom_details": {
            "standing": "critical · 1 firing",
            "note": "Nobody acknowledged for 30 minutes.",
            "Service": "postgres",
            "Since": "5 s",
            "Impact": "Nothing can be stored.",
            "Recommendation": "Start it.\nThen look at its log.",
            "labels": {"alertname": "SMM_DatabaseConnectionFailure", "service": "postgres", "team": "database"},
        },
    }
    assert body["links"][0] == {"href": "https://ops.example.com/a/1?t=x&y=z", "text": "Acknowledge"}
    assert (body["client"], body["client_url"]) == ("smm-admin", "https://ops.example.com")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_event_exceeds_the_limits(name: str, server: ChannelServer) -> None:
    send(server.spec("pagerduty"), delivery(HOSTILE[name]))
    request = server.requests[0]
    payload = request.json["payload"]
    assert len(request.body) <= pagerduty.MAX_BYTES
    assert 1 <= utf16_units(payload["summary"]) <= pagerduty.MAX_SUMMARY
    assert payload["severity"] in ("critical", "error", "warning", "info")
    assert payload["source"]


def test_a_contact_brings_its_own_key(server: ChannelServer) -> None:
    send(server.spec("pagerduty", options={"routing_key": None}), delivery(to="an0therR0utingKey"))
    assert server.requests[0].json["routing_key"] == "an0therR0utingKey"


def test_a_repeat_needs_no_words_because_the_key_is_known_there(server: ChannelServer) -> None:
    send(server.spec("pagerduty"), delivery(may_be_repeat=True))
    assert REPEAT not in server.requests[0].body.decode()


def test_what_pagerduty_says_of_a_bad_event_is_passed_on(server: ChannelServer) -> None:
    said = {"status": "invalid event", "message": "Event object is invalid", "errors": ["Length of 'routing_key'"]}
    server.will(Scripted(400, json.dumps(said)))
    outcome = send(server.spec("pagerduty"), delivery())
    assert (outcome.permanent, outcome.error) == (
        True,
        "answered 400: Event object is invalid; Length of 'routing_key'",
    )

"""What webhooks get: Alertmanager's body, signed, under the notification's own key."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.notify import Event, send
from app.notify.channels import webhook
from tests.notify.messages import ALERT, FIRST, HOSTILE, delivery, message
from tests.notify.servers import ChannelServer, Scripted


def test_the_body_is_alertmanagers_version_4(server: ChannelServer) -> None:
    over = replace(ALERT, status="resolved", ends_at=datetime(2026, 3, 1, 13, tzinfo=UTC), fingerprint="bb")
    send(server.spec("webhook"), delivery(message(alerts=(ALERT, over), firing=3, resolved=1)))
    assert server.requests[0].json == {
        "version": "4",
        "groupKey": '{}:{service="postgres"}',
        "truncatedAlerts": 2,
        "status": "firing",
        "receiver": "database",
        "groupLabels": {"service": "postgres"},
        "commonLabels": FIRST.common_labels,
        "commonAnnotations": FIRST.common_annotations,
        "externalURL": "https://ops.example.com",
        "alerts": [
            {
                "status": "firing",
                "labels": ALERT.labels,
                "annotations": ALERT.annotations,
                "startsAt": "2026-03-01T12:00:00.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": "00000000000000aa",
            },
            {
                "status": "resolved",
                "labels": ALERT.labels,
                "annotations": ALERT.annotations,
                "startsAt": "2026-03-01T12:00:00.000Z",
                "endsAt": "2026-03-01T13:00:00.000Z",
                "generatorURL": "",
                "fingerprint": "bb",
            },
        ],
    }


def test_the_end_of_a_group_is_its_status(server: ChannelServer) -> None:
    send(server.spec("webhook"), delivery(message(event=Event.RESOLVED, firing=0, resolved=1)))
    assert server.requests[0].json["status"] == "resolved"
    assert server.requests[0].headers["x-smm-event"] == "resolved"


def test_the_body_is_signed_and_carries_the_notifications_key(server: ChannelServer) -> None:
    for _ in range(2):
        send(server.spec("webhook"), delivery(may_be_repeat=True))
    first, second = server.requests
    signature = hmac.new(b"s3cretOfTheHook", first.body, hashlib.sha256).hexdigest()
    assert first.headers["x-smm-signature"] == f"sha256={signature}"
    assert (first.headers["idempotency-key"], second.headers["idempotency-key"]) == ("n-1", "n-1")
    assert first.body == second.body


def test_without_a_secret_nothing_is_signed_and_headers_are_passed_on(server: ChannelServer) -> None:
    spec = server.spec("webhook", options={"secret": None, "headers": {"Authorization": "Bearer s3cret"}})
    send(spec, delivery())
    assert "x-smm-signature" not in server.requests[0].headers
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_others_wrote_arrives_as_valid_json(name: str, server: ChannelServer) -> None:
    given = HOSTILE[name]
    assert send(server.spec("webhook"), delivery(given)).delivered
    request = server.requests[0]
    request.body.decode("utf-8")
    assert len(request.json["alerts"]) + request.json["truncatedAlerts"] == max(given.firing, len(given.alerts))


def test_labels_arrive_whole(server: ChannelServer) -> None:
    labels = {"<b>": "x" * 100_000, "שלום": "🔥"}
    send(server.spec("webhook"), delivery(message(alerts=(replace(ALERT, labels=labels),), common_labels=labels)))
    body = server.requests[0].json
    assert (body["alerts"][0]["labels"], body["commonLabels"]) == (labels, labels)


def test_alerts_that_would_make_it_too_large_are_counted_instead(server: ChannelServer) -> None:
    alert = replace(ALERT, labels={"alertname": "x" * 100_000})
    send(server.spec("webhook"), delivery(message(alerts=(alert,) * 50, firing=60)))
    body = server.requests[0].json
    assert len(server.requests[0].body) <= webhook.MAX_BYTES
    assert (len(body["alerts"]), body["truncatedAlerts"]) == (5, 55)


def test_a_key_that_is_no_header_is_sent_as_its_digest(server: ChannelServer) -> None:
    for _ in range(2):
        assert send(server.spec("webhook"), delivery(message(key="ключ\r\nX-Evil: 1"))).delivered
    first, second = (request.headers for request in server.requests)
    assert first["idempotency-key"] == second["idempotency-key"]
    assert "x-evil" not in first


def test_a_page_is_an_answer_of_a_webhook_as_good_as_any(server: ChannelServer) -> None:
    server.will(Scripted(200, "<html>thank you</html>"))
    assert send(server.spec("webhook"), delivery()).delivered

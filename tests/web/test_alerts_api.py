"""Alerts over HTTP: read, answered, silenced, explained; channels tried out; rotations taken over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.testclient import TestClient

from app import clock
from app.notify import bucket
from tests.alerts.pipe import CATALOG, Pipe
from tests.health.catalogs import use
from tests.notify.servers import LOCAL, ChannelServer, Scripted, channel_server

MORE = """
[channels.live]
kind = "webhook"
url = "{base}/hook/s3cretPartOfTheAddress"
description = "the hook of tests"
fallback = ["ops"]
timeout = 2
allow = {allow}

[channels.off]
kind = "webhook"
url = "{base}/off"
enabled = false

[people.ann]
contacts = [{{channel = "ops"}}]

[people.bob]
contacts = [{{channel = "ops"}}]

[rotations.primary]
members = ["ann", "bob"]
start = 2026-03-02

[teams.platform]
rotation = "primary"
lead = "head"
"""


@pytest.fixture
def server() -> Iterator[ChannelServer]:
    bucket.forget()
    with channel_server() as running:
        yield running


@pytest.fixture
def pipe(client: TestClient, server: ChannelServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    use(monkeypatch, home, CATALOG + MORE.format(base=server.base, allow=json.dumps(LOCAL)))
    return Pipe()


def url(episode: UUID, word: str = "") -> str:
    return f"/api/v1/alerts/{episode}{'/' if word else ''}{word}"


def test_alerts_are_listed_filtered_and_paged(client: TestClient, pipe: Pipe) -> None:
    for number in range(5):
        pipe.fire("Disk", severity="critical", instance=f"db-{number}")
    pipe.fire("Shop", team="x")
    everything = client.get("/api/v1/alerts").json()
    assert (len(everything["alerts"]), everything["next"]) == (6, None)
    page = client.get("/api/v1/alerts", params={"name": "Disk", "limit": 3}).json()
    rest = client.get("/api/v1/alerts", params={"name": "Disk", "limit": 3, "cursor": page["next"]}).json()
    assert len({item["id"] for item in (*page["alerts"], *rest["alerts"])}) == 5
    chosen = client.get("/api/v1/alerts", params={"matcher": ['instance=~"db-[01]"', "severity=critical"]}).json()
    assert len(chosen["alerts"]) == 2
    assert client.get("/api/v1/alerts", params={"state": "resolved", "open": "false"}).json()["alerts"] == []


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"state": "lost"}, "query.state"),
        ({"severity": "low"}, "query.severity"),
        ({"limit": 0}, "query.limit"),
        ({"cursor": "x"}, "query.cursor"),
        ({"matcher": "no matcher"}, "query.matcher"),
        ({"matcher": 'a=~"("'}, "query.matcher"),
    ],
)
def test_a_bad_filter_is_named(client: TestClient, pipe: Pipe, parameters: dict[str, Any], field: str) -> None:
    answer = client.get("/api/v1/alerts", params=parameters)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_an_alert_is_answered_as_the_caller_unless_a_name_is_given(client: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire()
    shown = client.post(url(episode, "acknowledge")).json()
    assert (shown["state"], shown["acknowledged"]["by"]) == ("acknowledged", "admin")
    shown = client.post(url(episode, "acknowledge"), json={"by": "ann", "minutes": 5, "comment": "mine"}).json()
    assert shown["acknowledged"]["by"] == "ann"
    assert client.post(url(episode, "unacknowledge"), json={"by": "ann"}).json()["state"] == "firing"
    assert client.post(url(episode, "comment"), json={"text": "hm"}).status_code == 200
    shown = client.post(url(episode, "resolve"), json={"comment": "done"}).json()
    assert (shown["state"], shown["resolved_by"]) == ("resolved", "admin")
    shown = client.post(url(episode, "verdict"), json={"verdict": "needed"}).json()
    assert shown["verdict"] == {"verdict": "needed", "by": "admin"}
    assert [entry["event"] for entry in client.get(url(episode)).json()["history"] if entry["by"]] == [
        "acknowledged", "acknowledged", "unacknowledged", "comment", "closed", "verdict",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["acknowledge", "unacknowledge", "resolve"])
def test_what_is_over_is_a_conflict(client: TestClient, pipe: Pipe, word: str) -> None:
    episode = pipe.fire()
    client.post(url(episode, "resolve"))
    answer = client.post(url(episode, word))
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert "resolved already" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("word", "body", "field"),
    [
        ("acknowledge", {"minutes": 0}, "minutes"),
        ("acknowledge", {"minutes": "soon"}, "minutes"),
        ("acknowledge", {"by": ""}, "by"),
        ("acknowledge", {"by": "x" * 201}, "by"),
        ("acknowledge", {"until": "x"}, "until"),
        ("resolve", {"comment": "x" * 2001}, "comment"),
        ("comment", {}, "text"),
        ("comment", {"text": ""}, "text"),
        ("verdict", {"verdict": "maybe"}, "verdict"),
        ("verdict", {}, "verdict"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(
    client: TestClient, pipe: Pipe, word: str, body: dict[str, Any], field: str
) -> None:
    episode = pipe.fire()
    answer = client.post(url(episode, word), json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert pipe.episode(episode).state == "firing"


@pytest.mark.parametrize("raw", [b"[]", b"{", b'"x"', b"\xff", b"NaN"])
def test_a_body_of_another_kind_is_refused(client: TestClient, pipe: Pipe, raw: bytes) -> None:
    assert client.post(url(pipe.fire(), "acknowledge"), content=raw).status_code == 422


def test_an_unknown_alert_is_not_found(client: TestClient, pipe: Pipe) -> None:
    assert client.get(url(uuid4())).status_code == 404
    assert client.get(url(uuid4(), "explain")).status_code == 404
    for word in ("acknowledge", "unacknowledge", "resolve"):
        assert client.post(url(uuid4(), word)).status_code == 404
    assert client.post(url(uuid4(), "comment"), json={"text": "x"}).status_code == 404
    assert client.post(url(uuid4(), "verdict"), json={"verdict": "needed"}).status_code == 404
    assert client.get("/api/v1/alerts/x").status_code == 422


def test_an_alert_explains_who_was_told_and_what_comes_next(client: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire(severity="critical")
    pipe.run()
    found = client.get(url(episode, "explain")).json()
    assert {row["channel"] for row in found["groups"][0]["notifications"]} == {"ops", "pager"}
    assert found["groups"][0]["ladder"][0]["notify"] == ["person:head"]


def test_a_dry_run_says_who_would_be_told_and_writes_nothing(client: TestClient, pipe: Pipe) -> None:
    labels = {"alertname": "Trouble", "severity": "critical"}
    found = client.post("/api/v1/alerts/explain", json={"labels": labels, "at": "2026-03-01T12:00:00Z"}).json()
    assert found["told"] is True
    assert found["at"] == "2026-03-01T12:00:00.000Z"
    assert [item["channel"] for item in found["routes"][0]["recipients"]] == ["pager", "ops"]
    assert pipe.sql("SELECT count(*) FROM alert_episodes")[0][0] == 0
    refused = client.post("/api/v1/alerts/explain", json={"labels": {"severity": "error"}})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "labels.alertname"


def test_a_silence_is_made_shown_changed_and_ended(client: TestClient, pipe: Pipe) -> None:
    wanted = {"matchers": ['alertname="Trouble"', {"name": "x", "value": ".*", "isRegex": True}], "comment": "known"}
    made = client.post("/api/v1/silences", json={**wanted, "minutes": 60})
    assert made.status_code == 201, made.text
    silence = made.json()
    assert (silence["state"], silence["created_by"], silence["text"]) == (
        "active", "admin", '{alertname="Trouble",x=~".*"}',
    )  # fmt: skip
    address = f"/api/v1/silences/{silence['id']}"
    assert client.get(address).json() == silence
    changed = client.put(address, json={**wanted, "comment": "longer", "minutes": 120}).json()
    assert (changed["id"], changed["comment"]) == (silence["id"], "longer")
    other = client.put(address, json={"matchers": ["alertname=Other"], "comment": "other", "minutes": 5}).json()
    assert other["id"] != silence["id"]
    assert [item["id"] for item in client.get("/api/v1/silences").json()["silences"]] == [other["id"]]
    assert client.delete(f"/api/v1/silences/{other['id']}").json()["state"] == "expired"
    assert client.get("/api/v1/silences").json()["silences"] == []
    assert len(client.get("/api/v1/silences", params={"expired": True}).json()["silences"]) == 2
    assert len(client.get("/api/v1/silences", params={"state": "expired"}).json()["silences"]) == 2


def test_a_silenced_alert_says_so(client: TestClient, pipe: Pipe) -> None:
    client.post("/api/v1/silences", json={"matchers": ["alertname=Trouble"], "comment": "known", "minutes": 60})
    episode = pipe.fire()
    pipe.run()
    assert client.get(url(episode)).json()["muted"][0]["by"] == "silence"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"matchers": []}, "matchers"),
        ({"matchers": ["no matcher"]}, "matchers.0"),
        ({"matchers": ["a=b", 'x=~"("']}, "matchers.1"),
        ({"matchers": ['x=~".*"']}, "matchers"),
        ({"comment": ""}, "comment"),
        ({"minutes": None}, "ends_at"),
        ({"ends_at": "2999-01-01T00:00:00Z"}, "ends_at"),
        ({"minutes": None, "ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": "2026-03-01T12:00:00"}, "starts_at"),
        ({"author": "ann"}, "author"),
    ],
)
def test_a_senseless_silence_is_refused(client: TestClient, pipe: Pipe, changes: dict[str, Any], field: str) -> None:
    body = {"matchers": ["alertname=Trouble"], "comment": "known", "minutes": 60} | changes
    answer = client.post("/api/v1/silences", json={name: value for name, value in body.items() if value is not None})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert client.get("/api/v1/silences").json()["silences"] == []


def test_an_unknown_silence_is_not_found(client: TestClient, pipe: Pipe) -> None:
    address = f"/api/v1/silences/{uuid4()}"
    body = {"matchers": ["alertname=Trouble"], "comment": "known", "minutes": 60}
    for answer in (client.get(address), client.delete(address), client.put(address, json=body)):
        assert answer.status_code == 404


def test_figures_are_of_the_asked_time(client: TestClient, pipe: Pipe) -> None:
    pipe.fire()
    assert client.get("/api/v1/alerts/figures").json()["episodes"] == 1
    yesterday = (clock.now() - timedelta(days=1)).isoformat()
    assert client.get("/api/v1/alerts/figures", params={"until": yesterday}).json()["episodes"] == 0
    assert client.get("/api/v1/alerts/figures", params={"since": "2999-01-01T00:00:00Z"}).status_code == 422


def test_notifications_are_listed(client: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire(severity="critical")
    pipe.run()
    found = client.get("/api/v1/notifications").json()["notifications"]
    assert {row["channel"] for row in found} == {"ops", "pager"}
    assert len(client.get("/api/v1/notifications", params={"alert": str(episode)}).json()["notifications"]) == 2
    assert len(client.get("/api/v1/notifications", params={"channel": "ops"}).json()["notifications"]) == 1
    assert client.get("/api/v1/notifications", params={"state": "failed"}).json()["notifications"] == []
    assert client.get("/api/v1/notifications", params={"state": "lost"}).status_code == 422


def test_channels_are_shown_without_their_secrets(client: TestClient, pipe: Pipe) -> None:
    pipe.fire()
    pipe.run()
    pipe.sql("UPDATE notifications SET state = 'failed', finished_at = now(), error = 'answered 500'")
    answer = client.get("/api/v1/channels")
    channels = {row["name"]: row for row in answer.json()["channels"]}
    assert set(channels) == {"live", "off", "ops", "pager"}
    assert (channels["live"]["kind"], channels["live"]["fallback"]) == ("webhook", ["ops"])
    assert channels["off"]["enabled"] is False
    assert (channels["ops"]["failed"], channels["ops"]["last_error"]) == (1, "answered 500")
    assert channels["ops"]["last_failed_at"] is not None
    assert channels["live"]["last_delivered_at"] is None
    assert "s3cret" not in answer.text
    assert "0123456789abcdef" not in answer.text


def test_a_channel_is_tried_out_now_and_answers_what_became_of_it(
    client: TestClient, pipe: Pipe, server: ChannelServer
) -> None:
    outcome = client.post("/api/v1/channels/live/test").json()
    assert (outcome["outcome"], outcome["delivered"], outcome["http_status"]) == ("delivered", True, 200)
    assert server.requests[0].headers["x-smm-event"] == "test"
    server.will(Scripted(500, "s3cretPartOfTheAddress"))
    outcome = client.post("/api/v1/channels/live/test", json={})
    assert outcome.status_code == 200
    assert (outcome.json()["outcome"], outcome.json()["http_status"]) == ("transient", 500)
    assert "s3cret" not in outcome.text
    assert client.post("/api/v1/channels/off/test").status_code == 409
    assert client.post("/api/v1/channels/nope/test").status_code == 404
    assert client.post("/api/v1/channels/live/test", json={"to": ""}).status_code == 422
    assert pipe.sql("SELECT count(*) FROM notifications")[0][0] == 0


def test_a_channel_that_hangs_answers_within_its_timeout(client: TestClient, pipe: Pipe, server: ChannelServer) -> None:
    server.will(Scripted(how="hang"))
    started = clock.monotonic()
    outcome = client.post("/api/v1/channels/live/test").json()
    assert clock.monotonic() - started < 4
    assert (outcome["delivered"], outcome["http_status"]) == (False, None)
    assert "no answer in time" in outcome["error"]


def test_who_is_on_call_and_who_takes_over(client: TestClient, pipe: Pipe) -> None:
    plan = client.get("/api/v1/on-call", params={"days": 7}).json()
    present = plan["rotations"]["primary"]["now"]["person"]
    assert plan["teams"]["platform"] == {
        "rotation": "primary",
        "on_call": present,
        "next": "bob" if present == "ann" else "ann",
        "lead": "head",
    }
    end = clock.iso(clock.now() + timedelta(hours=1))
    body = {"rotation": "primary", "person": "head", "ends_at": end, "reason": "dentist"}
    made = client.post("/api/v1/on-call/overrides", json=body)
    assert made.status_code == 201
    assert made.json()["created_by"] == "admin"
    assert client.get("/api/v1/on-call").json()["rotations"]["primary"]["now"]["person"] == "head"
    assert client.get("/api/v1/on-call/overrides").json()["overrides"] == [made.json()]
    address = f"/api/v1/on-call/overrides/{made.json()['id']}"
    assert client.delete(address).json()["person"] == "head"
    assert client.delete(address).status_code == 404
    assert client.get("/api/v1/on-call").json()["rotations"]["primary"]["now"]["person"] == present


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rotation": "primry"}, "rotation"),
        ({"person": "eve"}, "person"),
        ({"ends_at": "2020-01-01T00:00:00Z", "starts_at": "2019-12-31T00:00:00Z"}, "ends_at"),
        ({"ends_at": "2026-03-01T12:00:00"}, "ends_at"),
        ({"until": "x"}, "until"),
    ],
)
def test_a_senseless_override_is_refused(client: TestClient, pipe: Pipe, changes: dict[str, Any], field: str) -> None:
    body = {"rotation": "primary", "person": "ann", "ends_at": clock.iso(clock.now() + timedelta(hours=1))} | changes
    answer = client.post("/api/v1/on-call/overrides", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_the_bodies_are_in_the_openapi_document(client: TestClient, pipe: Pipe) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/api/v1/alerts/{alert_id}/acknowledge"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Acknowledge")
    matcher = document["components"]["schemas"]["SilenceMatcher"]["properties"]
    assert set(matcher) == {"name", "value", "isRegex", "isEqual"}
    for name, schema in document["components"]["schemas"].items():
        for member, given in schema.get("properties", {}).items():
            if name in ("Acknowledge", "Act", "Comment", "Verdict", "DryRun", "SilenceRequest", "OverrideRequest"):
                assert given.get("description"), (name, member)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"])
def test_a_moment_that_nobody_can_reckon_with_is_named(client: TestClient, pipe: Pipe, moment: str) -> None:
    override = {"rotation": "primary", "person": "bob", "starts_at": moment, "ends_at": moment}
    silence = {"matchers": ['a="b"'], "starts_at": moment, "minutes": 525_600, "comment": "x"}
    answers = [
        client.get("/api/v1/alerts/figures", params={"since": moment}),
        client.get("/api/v1/alerts/figures", params={"until": moment}),
        client.post("/api/v1/alerts/explain", json={"labels": {"alertname": "X"}, "at": moment}),
        client.post("/api/v1/on-call/overrides", json=override),
        client.post("/api/v1/silences", json=silence),
    ]
    assert [answer.status_code for answer in answers] == [422] * 5
    fields = [answer.json()["errors"][0]["field"] for answer in answers]
    assert [field.rpartition(".")[2] for field in fields] == ["since", "until", "at", "starts_at", "starts_at"]

"""Posting alerts: answers in Alertmanager's words, and what was accepted is there."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from httpx import Response
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.infra import adminkey
from app.infra.db import dispose, execute_once
from app.infra.metrics.instruments import deltas
from tests.fixtures.servers import Servers
from tests.health.catalogs import use

ALERTS = "/api/v2/alerts"
WEBHOOK = "/api/v1/webhooks/alertmanager"
GOOD = {"labels": {"alertname": "Trouble"}}


def post(client: TestClient, alerts: Any) -> Response:
    content = alerts if isinstance(alerts, str | bytes) else json.dumps(alerts)
    return client.post(ALERTS, content=content, headers={"Content-Type": "application/json"})


def names(client: TestClient) -> list[str]:
    """What it shows, by name."""
    return sorted(alert["labels"].get("alertname", "") for alert in client.get(ALERTS).json())


def inbox() -> int:
    """Alerts that were accepted and not merged yet."""
    return int(execute_once("SELECT coalesce(sum(alerts), 0) AS waiting FROM alert_inbox")[0].waiting)


def test_accepted_alerts_are_durable_when_the_answer_comes(client: TestClient) -> None:
    answer = post(client, [GOOD, {"labels": {"alertname": "Other"}}])
    assert (answer.status_code, answer.content) == (200, b"")
    assert inbox() == 2


def test_what_was_accepted_is_seen_at_once(client: TestClient) -> None:
    post(client, [GOOD])
    assert names(client) == ["Trouble"]
    assert inbox() == 0
    post(client, [{**GOOD, "startsAt": "2026-01-01T00:00:00Z", "endsAt": clock.iso(clock.now())}])
    assert names(client) == []


@pytest.mark.parametrize("nothing", ["[]", "null"])
def test_nothing_posted_is_nothing_wrong(client: TestClient, nothing: str) -> None:
    answer = post(client, nothing)
    assert (answer.status_code, answer.content) == (200, b"")
    assert inbox() == 0


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        ([{"labels": {}}], "at least one label pair required"),
        ([{"labels": {"a-b": "x"}}], 'invalid label set: invalid name "a-b"'),
        (
            [{"labels": {}}, GOOD, {"labels": {"a-b": "x"}}],
            'at least one label pair required; invalid label set: invalid name "a-b"',
        ),
        ([{**GOOD, "startsAt": "2100-01-01T00:00:00Z"}], "start time must be before end time"),
        ([None], "an alert must be an object"),
        ({}, "body must be a list of alerts"),
        ("", "body: is empty: a JSON object is expected"),
        ("[{]", "body: is no JSON: Expecting property name enclosed in double quotes at line 1, column 3"),
        (b'[{"labels": {"a": "\xff"}}]', "body: is no UTF-8 text"),
        ('[{"labels": {"a": "\x01"}}]', "body: is no JSON: Invalid control character at at line 1, column 20"),
        ("[" * 100_000, "body: is nested too deeply"),
        ('[{"labels": {"a": NaN}}]', "body: holds NaN, which JSON has not"),
    ],
)
def test_what_is_wrong_is_said_as_a_json_string(client: TestClient, alerts: Any, said: str) -> None:
    answer = post(client, alerts)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == said


def test_the_good_ones_of_a_bad_batch_are_kept(client: TestClient) -> None:
    assert post(client, [{"labels": {}}, GOOD, None, {"labels": {"alertname": "Other"}}]).status_code == 400
    assert names(client) == ["Other", "Trouble"]


def test_an_endless_list_of_reasons_is_cut_off(client: TestClient) -> None:
    said = post(client, [{"labels": {}}] * 1000).json()
    assert said.endswith("; and 900 more")
    assert len(said) < 5000


def test_half_surrogates_and_nul_are_shown_as_what_they_became(client: TestClient) -> None:
    assert post(client, '[{"labels": {"alertname": "x\\ud800", "b": "\\u0000", "c": "\\u202e\\n"}}]').status_code == 200
    (alert,) = client.get(ALERTS).json()
    assert alert["labels"] == {"alertname": "x\ufffd", "b": "\ufffd", "c": "\u202e\n"}


def test_a_batch_of_prometheus_3_fits(client: TestClient) -> None:
    """256 alerts with much to say: the default limit of a body takes them."""
    alerts = [
        {
            "labels": {"alertname": "Storm", **{f"label_{place}": "x" * 60 for place in range(10)}, "n": str(number)},
            "annotations": {"summary": "x" * 200, "description": "y" * 1500, "runbook": "z" * 200},
            "startsAt": clock.iso(clock.now()),
            "endsAt": clock.iso(clock.now() + timedelta(minutes=4)),
            "generatorURL": "http://prometheus:9090/graph?" + "g" * 300,
        }
        for number in range(256)
    ]
    assert post(client, alerts).status_code == 200
    assert len(names(client)) == 256


def test_ten_thousand_alerts_in_one_post(client: TestClient) -> None:
    alerts = [{"labels": {"alertname": "Storm", "number": str(number)}} for number in range(10_000)]
    assert post(client, alerts).status_code == 200
    started = time.monotonic()
    assert len(names(client)) == 10_000
    assert time.monotonic() - started < 20


def test_too_many_and_too_large_are_refused(client: TestClient) -> None:
    answer = post(client, "[" + ",".join(["{}"] * 20_001) + "]")
    assert answer.status_code == 400
    assert answer.json().startswith("20001 alerts are too many: send at most 20000 at once")
    assert post(client, [{"labels": {"a": "x" * settings().body_max_bytes}}]).status_code == 413
    assert post(client, [{"labels": {"a": "x" * 100_000}}]).status_code == 400
    assert inbox() <= 1
    assert names(client) == []


def test_without_a_valid_catalogue_alerts_are_accepted_all_the_same(
    client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, "this is no catalogue")
    assert post(client, [GOOD, {"labels": {}}]).status_code == 400
    assert inbox() == 2
    monkeypatch.delenv("SMM_CATALOG_FILE")
    settings.cache_clear()
    assert names(client) == ["Trouble"]


def key() -> str:
    return adminkey.load_or_create(settings())


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_the_key_comes_as_prometheus_and_amtool_can_send_it(stranger: TestClient) -> None:
    for headers in ({"Authorization": f"Bearer {key()}"}, {"X-API-Key": key()}, basic("", key()), basic("prom", key())):
        assert stranger.post(ALERTS, json=[GOOD], headers=headers).status_code == 200, headers
        assert stranger.get("/api/v2/receivers", headers=headers).status_code == 200, headers
    # A proxy's own password does not hide the key beside it.
    assert stranger.get("/api/v2/receivers", headers={**basic("proxy", "x"), "X-API-Key": key()}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic !"}, basic("admin", ""), basic("admin", "nope")],
)
def test_strangers_post_nothing(stranger: TestClient, headers: dict[str, str]) -> None:
    for path in (ALERTS, WEBHOOK):
        answer = stranger.post(path, content="[" * 1000, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert inbox() == 0


def test_a_new_key_counts_within_a_second_or_so(stranger: TestClient) -> None:
    assert stranger.get("/api/v2/receivers", headers={"X-API-Key": key()}).status_code == 200
    adminkey.path(settings()).write_text("another-key\n")
    deadline = time.monotonic() + 5
    while stranger.get("/api/v2/receivers", headers={"X-API-Key": "another-key"}).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_posts_are_counted_by_their_route(client: TestClient) -> None:
    deltas().restart()
    post(client, [GOOD])
    client.get(ALERTS)
    batch = deltas().take()
    assert batch is not None
    counted = {labels for (name, labels, _) in batch.amounts if name == "smm_http_requests_total"}
    assert counted == {("POST", ALERTS, "200"), ("GET", ALERTS, "200")}


def test_other_methods_are_refused(client: TestClient) -> None:
    answer = client.put(ALERTS, content="[]")
    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


@pytest.fixture
def outage(database: str, servers: Servers) -> Iterator[Callable[[bool], None]]:
    """Takes the database away, and gives it back."""
    name = database.rpartition("/")[2]

    def set_away(away: bool) -> None:
        servers.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {'false' if away else 'true'}")
        if away:
            servers.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        else:
            dispose()

    yield set_away
    set_away(False)


def test_while_the_database_is_away_nothing_is_accepted_and_nothing_doubled(
    client: TestClient, outage: Callable[[bool], None]
) -> None:
    assert post(client, [GOOD]).status_code == 200
    outage(True)
    for _ in range(3):
        started = time.monotonic()
        answer = post(client, [GOOD, {"labels": {"alertname": "Other"}}])
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert time.monotonic() - started < 6
    assert client.get("/-/healthy").text == "OK"
    assert client.get("/-/ready").status_code == 503
    outage(False)
    assert post(client, [GOOD, {"labels": {"alertname": "Other"}}]).status_code == 200
    assert client.get("/-/ready").text == "OK"
    assert names(client) == ["Other", "Trouble"]
    assert [row.n for row in execute_once("SELECT count(*) AS n FROM alert_episodes GROUP BY fingerprint")] == [1, 1]


def test_a_slow_database_is_answered_for_in_time_and_nothing_is_doubled(client: TestClient, database: str) -> None:
    assert post(client, [GOOD]).status_code == 200
    other = psycopg2.connect(database)
    other.cursor().execute("LOCK TABLE alert_inbox IN ACCESS EXCLUSIVE MODE")
    started = time.monotonic()
    assert post(client, [GOOD]).status_code == 503
    assert time.monotonic() - started < 8
    other.rollback()
    other.close()
    assert post(client, [GOOD]).status_code == 200
    assert names(client) == ["Trouble"]
    assert [row.occurrences for row in execute_once("SELECT occurrences FROM alert_episodes")] == [1]


def webhook(*alerts: Any) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": '{}:{alertname="Trouble"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "smm-admin",
        "groupLabels": {"alertname": "Trouble"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    }


def test_the_webhook_of_another_alertmanager_is_taken_over(client: TestClient) -> None:
    now = clock.now()
    firing = {**GOOD, "status": "firing", "startsAt": clock.iso(now), "endsAt": "0001-01-01T00:00:00Z"}
    answer = client.post(WEBHOOK, json=webhook(firing, {"labels": {}}))
    assert answer.status_code == 200
    assert answer.json() == {
        "accepted": 1,
        "rejected": [{"index": 1, "message": "at least one label pair required"}],
    }
    assert names(client) == ["Trouble"]
    over = {**firing, "status": "resolved", "endsAt": clock.iso(clock.now())}
    assert client.post(WEBHOOK, json=webhook(over)).json() == {"accepted": 1, "rejected": []}
    assert names(client) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"version": "3"}, "body"),
        ([], "body"),
        (webhook(None), "alerts.0"),
        ({**webhook(), "alerts": None}, "body"),
    ],
)
def test_what_is_no_such_webhook_is_refused(client: TestClient, body: Any, field: str) -> None:
    answer = client.post(WEBHOOK, json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]

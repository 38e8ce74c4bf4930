"""Reading alerts, groups, silences and the status as Alertmanager's API v2 gives them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from starlette.testclient import TestClient

from app import clock
from app.alerts import ingest, pipeline
from app.config import settings
from app.infra.db import execute_once
from tests.health.catalogs import tcp, use

CATALOG = (
    tcp("shop")
    + """
[alerting]
hold_after_start = 0
resolve_after = 600

[channels.ops]
kind = "webhook"
url = "http://127.0.0.1:9/ops"

[receivers.everybody]
notify = ["channel:ops"]

[receivers.pages]
notify = ["channel:ops"]

[routing]
receiver = "everybody"
group_by = ["alertname", "cluster"]
group_wait = 0

[[routing.routes]]
matchers = ['severity="critical"']
receiver = "pages"
group_by = ["..."]
continue = true

[[routing.routes]]
matchers = ['severity="critical"']
receiver = "everybody"

[[inhibitions]]
source = ['alertname="Database"']
target = ['alertname="Symptom"']
equal = ["cluster"]

[[mutes]]
matchers = ['alertname="Planned"']
window = {from = 2020-01-01T00:00:00Z, until = 2100-01-01T00:00:00Z, reason = "for ever"}

[alerts.Known]
runbook = "known"
impact = "much for {labels.cluster}"
"""
)


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch, client: TestClient) -> Iterator[TestClient]:
    """A client of the application under CATALOG."""
    use(monkeypatch, home, CATALOG)
    client.headers["X-Api-Key"] = client.headers["Authorization"].removeprefix("Bearer ")
    yield client
    settings.cache_clear()


def raised(client: TestClient, name: str, **labels: str) -> None:
    answer = client.post("/api/v2/alerts", json=[{"labels": {"alertname": name, **labels}}])
    assert answer.status_code == 200, answer.text


def alerts(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/v2/alerts", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def names(client: TestClient, **query: Any) -> set[str]:
    return {alert["labels"]["alertname"] for alert in alerts(client, **query)}


def silence(client: TestClient, matcher: str = "alertname", value: str = "Trouble", **fields: Any) -> dict[str, Any]:
    """What a client posts to silence alerts."""
    now = clock.now()
    return {
        "matchers": [{"name": matcher, "value": value, "isRegex": False, "isEqual": True}],
        "startsAt": clock.iso(now),
        "endsAt": clock.iso(now + timedelta(hours=1)),
        "createdBy": "ann",
        "comment": "we know",
        **fields,
    }


def silenced(client: TestClient, *where: str, **fields: Any) -> str:
    answer = client.post("/api/v2/silences", json=silence(client, *where, **fields))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["silenceID"])


def test_an_alert_is_shown_as_alertmanager_shows_it(client: TestClient) -> None:
    body = {
        "labels": {"alertname": "Trouble", "cluster": "eu", "empty": ""},
        "annotations": {"summary": "it hurts"},
        "startsAt": "2026-03-01T12:00:00.123456789+02:00",
        "endsAt": "2100-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
    }
    client.post("/api/v2/alerts", json=[body])
    (alert,) = alerts(client)
    assert abs(datetime.fromisoformat(alert.pop("updatedAt")) - clock.now()) < timedelta(minutes=1)
    assert alert == {
        "labels": {"alertname": "Trouble", "cluster": "eu"},
        "annotations": {"summary": "it hurts"},
        "startsAt": "2026-03-01T10:00:00.123Z",
        "endsAt": "2100-01-01T00:00:00.000Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "a5df51b1e6d9a8ab",
        "receivers": [{"name": "everybody"}],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
    }


def test_they_are_sorted_by_fingerprint(client: TestClient) -> None:
    for number in range(20):
        raised(client, "Trouble", number=str(number))
    found = [alert["fingerprint"] for alert in alerts(client)]
    assert found == sorted(found)
    assert len(found) == 20


def test_what_the_catalogue_knows_of_an_alert_is_added(client: TestClient) -> None:
    raised(client, "Known", cluster="eu")
    (alert,) = alerts(client)
    assert alert["annotations"] == {"impact": "much for eu", "runbook": "docs/runbooks/known.md"}


def test_what_our_own_signals_raised_is_shown_too(client: TestClient) -> None:
    execute_once(
        "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state, starts_at)"
        " VALUES (gen_random_uuid(), '00', 'O', 'error', '{\"alertname\": \"O\"}', '{}', 'signal', 'firing', now())"
    )
    (alert,) = alerts(client)
    assert alert["status"]["state"] == "active"
    assert datetime.fromisoformat(alert["endsAt"]) > clock.now() + timedelta(minutes=9)
    assert "generatorURL" not in alert


def test_what_is_not_confirmed_yet_is_unprocessed(client: TestClient) -> None:
    execute_once(
        "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state, starts_at)"
        " VALUES (gen_random_uuid(), '00', 'P', 'error', '{\"alertname\": \"P\"}', '{}', 'signal', 'pending', now())"
    )
    assert [alert["status"]["state"] for alert in alerts(client)] == ["unprocessed"]
    assert alerts(client, unprocessed="false") == []
    assert alerts(client, active="false") != []


def test_each_state_can_be_asked_for(client: TestClient) -> None:
    for name in ("Trouble", "Quiet", "Database", "Symptom", "Planned"):
        raised(client, name, cluster="eu")
    raised(client, "Symptom", cluster="us")
    one = silenced(client, "alertname", "Quiet")
    states = {(alert["labels"]["alertname"], alert["labels"]["cluster"]): alert["status"] for alert in alerts(client)}
    fingerprint = {alert["labels"]["alertname"]: alert["fingerprint"] for alert in alerts(client)}
    assert states["Trouble", "eu"]["state"] == states["Symptom", "us"]["state"] == "active"
    assert states["Quiet", "eu"] == {"state": "suppressed", "silencedBy": [one], "inhibitedBy": [], "mutedBy": []}
    assert states["Symptom", "eu"]["inhibitedBy"] == [fingerprint["Database"]]
    assert states["Planned", "eu"]["mutedBy"] == ["mutes[0]"]
    everything = {"Trouble", "Quiet", "Database", "Symptom", "Planned"}
    assert names(client) == names(client, active="true", silenced="YES", inhibited="1") == everything
    assert names(client, silenced="false") == everything - {"Quiet"}
    assert names(client, inhibited="false", filter='cluster="eu"') == everything - {"Symptom"}
    assert names(client, active="no") == {"Quiet", "Symptom", "Planned"}
    assert names(client, active="maybe", silenced="", inhibited="0") == {"Planned"}


def test_matchers_choose_alerts(client: TestClient) -> None:
    raised(client, "Trouble", cluster="eu")
    raised(client, "Trouble", cluster="us")
    raised(client, "Other")
    assert len(alerts(client, filter=['alertname="Trouble"', 'cluster=~"e."'])) == 1
    assert len(alerts(client, filter='cluster!="eu"')) == 2
    assert len(alerts(client, filter="cluster!~.+")) == 1
    assert len(alerts(client, filter="alertname=Trouble")) == 2


def test_receivers_choose_alerts_by_their_whole_name(client: TestClient) -> None:
    raised(client, "Trouble")
    raised(client, "Bad", severity="critical")
    assert [alert["receivers"] for alert in alerts(client, filter="alertname=Bad")] == [
        [{"name": "pages"}, {"name": "everybody"}]
    ]
    assert names(client, receiver="pages") == {"Bad"}
    assert names(client, receiver="every|page") == set()
    assert names(client, receiver="every.*|x") == {"Trouble", "Bad"}
    assert names(client, receiver="") == {"Trouble", "Bad"}


@pytest.mark.parametrize("path", ["/api/v2/alerts", "/api/v2/alerts/groups"])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"filter": "a"}, "is no matcher"),
        ({"filter": "a=~("}, "regular expression"),
        ({"receiver": "("}, "failed to parse receiver param"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(
    client: TestClient, path: str, query: dict[str, str], said: str
) -> None:
    answer = client.get(path, params=query)
    assert answer.status_code == 400
    assert isinstance(answer.json(), str)
    assert said in answer.json()


def test_groups_are_what_is_told_together(client: TestClient) -> None:
    for cluster in ("eu", "us"):
        for number in ("1", "2"):
            raised(client, "Trouble", cluster=cluster, number=number)
    raised(client, "Bad", severity="critical")
    groups = client.get("/api/v2/alerts/groups").json()
    told = [(group["receiver"]["name"], group["labels"], len(group["alerts"])) for group in groups]
    assert told == [
        ("everybody", {"alertname": "Bad"}, 1),
        ("pages", {"alertname": "Bad", "severity": "critical"}, 1),
        ("everybody", {"alertname": "Trouble", "cluster": "eu"}, 2),
        ("everybody", {"alertname": "Trouble", "cluster": "us"}, 2),
    ]
    assert all(group["routeLabels"] == {} for group in groups)
    assert groups[0]["alerts"] == alerts(client, filter="alertname=Bad")
    paged = client.get("/api/v2/alerts/groups", params={"receiver": "pages"}).json()
    assert [group["receiver"]["name"] for group in paged] == ["pages"]


def test_groups_agree_with_those_of_the_pipeline(client: TestClient) -> None:
    raised(client, "Trouble", cluster="eu")
    raised(client, "Bad", severity="critical")
    ingest.drain(clock.now())
    pipeline.run()
    stored = execute_once("SELECT receiver, labels FROM alert_groups WHERE closed_at IS NULL")
    shown = client.get("/api/v2/alerts/groups").json()
    assert sorted((row.receiver, sorted(row.labels)) for row in stored) == sorted(
        (group["receiver"]["name"], sorted(group["labels"])) for group in shown
    )


def test_ten_thousand_alerts_are_shown_within_a_second_or_so(client: TestClient) -> None:
    many = [{"labels": {"alertname": "Storm", "cluster": "eu", "number": str(number)}} for number in range(10_000)]
    assert client.post("/api/v2/alerts", json=many).status_code == 200
    silenced(client)
    ingest.drain(clock.now())
    started = time.monotonic()
    assert len(alerts(client)) == 10_000
    assert time.monotonic() - started < 5  # under 1 s on an idle machine


def test_while_another_process_merges_for_long_what_is_known_is_shown(
    client: TestClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "WAIT_SECONDS", 1)
    raised(client, "Trouble")
    assert names(client) == {"Trouble"}
    raised(client, "Other")
    other = psycopg2.connect(database)
    other.cursor().execute("SELECT pg_advisory_xact_lock(hashtext('alerts: inbox'))")
    assert names(client) == {"Trouble"}
    other.close()
    assert names(client) == {"Trouble", "Other"}


def test_a_silence_is_made_shown_and_expired(client: TestClient) -> None:
    one = silenced(client)
    answer = client.get(f"/api/v2/silence/{one}")
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["status"] == {"state": "active"}
    assert shown["matchers"] == [{"isEqual": True, "isRegex": False, "name": "alertname", "value": "Trouble"}]
    assert (shown["id"], shown["createdBy"], shown["comment"]) == (one, "ann", "we know")
    assert set(shown) == {"id", "status", "updatedAt", "comment", "createdBy", "endsAt", "matchers", "startsAt"}
    assert client.get("/api/v2/silences").json() == [shown]
    gone = client.delete(f"/api/v2/silence/{one}")
    assert (gone.status_code, gone.content) == (200, b"")
    assert client.get(f"/api/v2/silence/{one}").json()["status"] == {"state": "expired"}
    assert client.delete(f"/api/v2/silence/{one}").status_code == 200


def test_a_silence_is_changed_by_its_id(client: TestClient) -> None:
    one = silenced(client)
    kept = client.get(f"/api/v2/silence/{one}").json()
    assert client.post("/api/v2/silences", json={**kept, "comment": "longer"}).json() == {"silenceID": one}
    other = client.post(
        "/api/v2/silences", json={**kept, "matchers": [{"name": "a", "value": "b", "isRegex": False}]}
    ).json()["silenceID"]
    assert other != one
    states = {shown["id"]: shown["status"]["state"] for shown in client.get("/api/v2/silences").json()}
    assert states == {one: "expired", other: "active"}
    again = client.post("/api/v2/silences", json=kept).json()["silenceID"]
    assert again not in (one, other)


def test_silences_are_chosen_by_their_own_matchers(client: TestClient) -> None:
    one = silenced(client)
    silenced(client, "alertname", "Other")
    found = client.get("/api/v2/silences", params={"filter": ['alertname=~"Tr.*"']}).json()
    assert [shown["id"] for shown in found] == [one]
    answer = client.get("/api/v2/silences", params={"filter": "x"})
    assert (answer.status_code, type(answer.json())) == (400, str)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_silence_is_not_found(client: TestClient, method: str) -> None:
    assert client.request(method, f"/api/v2/silence/{uuid.uuid4()}").status_code == 404
    assert client.request(method, "/api/v2/silence/nope").status_code == 422


@pytest.mark.parametrize("unknown", ["7d6e9f30-1111-4222-8333-0123456789ab", "nope", 5])
def test_a_silence_that_is_not_there_cannot_be_changed(client: TestClient, unknown: Any) -> None:
    answer = client.post("/api/v2/silences", json=silence(client, id=unknown))
    assert (answer.status_code, answer.json()) == (404, "silence not found")


ONE = {"name": "a", "value": "b", "isRegex": False}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"matchers": [{**ONE, "value": ""}]}, "silence invalid: at least one matcher must not match the empty string"),
        (
            {"matchers": [{**ONE, "value": ".*", "isRegex": True}]},
            "silence invalid: at least one matcher must not match the empty string",
        ),
        ({"endsAt": "2020-01-01T00:00:00Z"}, "Failed to create silence: start time must be before end time"),
        (
            {"startsAt": "2019-01-01T00:00:00Z", "endsAt": "2020-01-01T00:00:00Z"},
            "Failed to create silence: end time can't be in the past",
        ),
        ({"matchers": []}, "matchers"),
        ({"matchers": None}, "matchers"),
        ({"matchers": ["a=b"]}, "matchers.0"),
        ({"matchers": [{**ONE, "name": "a-b"}]}, "matchers.0.name"),
        ({"matchers": [{**ONE, "name": ""}]}, "matchers.0.name"),
        ({"matchers": [{**ONE, "value": 1}]}, "matchers.0.value"),
        ({"matchers": [{**ONE, "value": "(", "isRegex": True}]}, "matchers.0.value"),
        ({"startsAt": "soon"}, "startsAt"),
        ({"endsAt": None}, "endsAt"),
        ({"createdBy": 5}, "createdBy"),
        ({"comment": "x" * 2001}, "comment"),
    ],
)
def test_a_silence_that_is_wrong_is_refused(client: TestClient, fields: dict[str, Any], said: str) -> None:
    answer = client.post("/api/v2/silences", json=silence(client, **fields))
    assert answer.status_code == 400
    assert isinstance(answer.json(), str)
    assert said in answer.json()
    assert client.get("/api/v2/silences").json() == []


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"x"'])
def test_a_body_that_is_no_silence_is_refused(client: TestClient, body: str) -> None:
    answer = client.post("/api/v2/silences", content=body)
    assert (answer.status_code, type(answer.json())) == (400, str)


def test_the_status_has_what_amtool_asks_for(client: TestClient) -> None:
    status = client.get("/api/v2/status").json()
    assert status["cluster"] == {"name": "", "status": "disabled", "peers": []}
    assert set(status["versionInfo"]) == {"version", "revision", "branch", "buildUser", "buildDate", "goVersion"}
    assert "receiver: " in status["config"]["original"]
    assert datetime.fromisoformat(status["uptime"]) <= clock.now()
    assert client.get("/api/v2/receivers").json() == [{"name": "everybody"}, {"name": "pages"}]


def test_it_says_that_it_is_well_without_a_key(stranger: TestClient) -> None:
    for path in ("/-/healthy", "/-/ready"):
        assert stranger.get(path).text == "OK"
        assert stranger.head(path).status_code == 200


def test_an_address_that_is_not_there_is_not_found(client: TestClient) -> None:
    assert client.get("/api/v2/nope").status_code == 404
    assert client.get("/api/v1/alerts").status_code != 500

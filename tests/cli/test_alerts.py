"""`smm-admin alerts` and `oncall`: exit codes, JSON, beginnings of ids, and one clear message."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.cli import alert_words
from app.errors import Invalid
from app.infra.db import unit_of_work
from app.notify import bucket
from tests.alerts.pipe import CATALOG, Pipe
from tests.cli.conftest import Ran
from tests.health.catalogs import use
from tests.notify.servers import LOCAL, ChannelServer, Scripted, channel_server

Smm = Callable[..., Ran]

MORE = """
[channels.live]
kind = "webhook"
url = "{base}/hook/s3cretPartOfTheAddress"
timeout = 2
allow = {allow}

[channels.client-mail]
kind = "email"
host = "127.0.0.1"
port = 9
from = "us@example.com"

[people.ann]
contacts = [{{channel = "ops"}}]

[rotations.primary]
members = ["ann", "head"]
start = 2026-03-02

[teams.platform]
rotation = "primary"
"""


@pytest.fixture
def server() -> Iterator[ChannelServer]:
    bucket.forget()
    with channel_server() as running:
        yield running


@pytest.fixture
def pipe(smm: Smm, server: ChannelServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    use(monkeypatch, home, CATALOG + MORE.format(base=server.base, allow=json.dumps(LOCAL)))
    assert smm("alerts", "list").out.strip() == "no alerts"
    return Pipe()


def test_alerts_are_listed_and_shown(smm: Smm, pipe: Pipe) -> None:
    disk = pipe.fire("Disk", severity="critical", instance="db-1")
    pipe.fire("Shop")
    pipe.run()
    assert "Disk" in smm("alerts", "list").out
    assert [row["id"] for row in smm("alerts", "list", "instance=~'db-.*'", "--json").json["alerts"]] == []
    assert [row["id"] for row in smm("alerts", "list", 'instance=~"db-.*"', "--json").json["alerts"]] == [str(disk)]
    assert len(smm("alerts", "list", "--severity", "warning", "--json").json["alerts"]) == 1
    shown = smm("alerts", "show", str(disk))
    assert "Disk (critical) is firing" in shown.out
    assert "it hurts" in shown.out
    assert "notifications" in shown.out
    assert smm("alerts", "show", str(disk), "--json").json["labels"]["instance"] == "db-1"


def test_pages_of_a_list_follow_one_another(smm: Smm, pipe: Pipe) -> None:
    for number in range(3):
        pipe.fire("Storm", number=str(number))
    first = smm("alerts", "list", "--limit", "2", "--json").json
    rest = smm("alerts", "list", "--limit", "2", "--cursor", first["next"], "--json").json
    assert (len(first["alerts"]), len(rest["alerts"]), rest["next"]) == (2, 1, None)
    assert f"more: --cursor {first['next']}" in smm("alerts", "list", "--limit", "2").out


def test_an_alert_is_answered_by_the_beginning_of_its_id(smm: Smm, pipe: Pipe) -> None:
    episode = pipe.fire()
    short = str(episode)[:20]
    answered = smm("alerts", "ack", short, "--for", "90m", "--by", "ann", "--comment", "looking")
    assert answered.code == 0
    assert f"{episode} Trouble is acknowledged by ann until" in answered.out
    assert smm("alerts", "unack", short, "--json").json["state"] == "firing"
    assert smm("alerts", "comment", short, "it was the disk").code == 0
    assert smm("alerts", "resolve", short, "--by", "ann").out.strip() == f"{episode} Trouble is resolved"
    assert smm("alerts", "list").out.strip() == "no alerts"
    assert len(smm("alerts", "list", "--all", "--json").json["alerts"]) == 1
    assert len(smm("alerts", "list", "--state", "resolved", "--json").json["alerts"]) == 1
    assert smm("alerts", "verdict", short, "not-needed", "--json").json["verdict"]["verdict"] == "not_needed"
    again = smm("alerts", "ack", short)
    assert again.code == 1
    assert "is resolved already" in again.err


def test_a_beginning_that_two_have_is_refused(smm: Smm, pipe: Pipe) -> None:
    pipe.fire()
    for tail in ("01", "02"):
        pipe.sql(
            "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state,"
            " starts_at) VALUES (CAST(:id AS uuid), :id, 'Twin', 'error', '{}', '{}', 'test', 'firing', now())",
            id=f"00000000-0000-7000-8000-0000000000{tail}",
        )
    ran = smm("alerts", "show", "00000000-0000")
    assert ran.code == 2
    assert "begins more than one" in ran.err
    assert smm("alerts", "show", "00000000-0000-7000-8000-000000000002").code == 0


def test_what_matches_is_silenced_for_a_while(smm: Smm, pipe: Pipe) -> None:
    made = smm(
        "alerts",
        "silence",
        "alertname=Trouble",
        'x=~".*"',
        "--for",
        "2h",
        "--comment",
        "known",
        "--by",
        "ann",
        "--json",
    ).json
    assert (made["text"], made["created_by"], made["state"]) == ('{alertname="Trouble",x=~".*"}', "ann", "active")
    assert "known" in smm("alerts", "silences").out
    episode = pipe.fire()
    pipe.run()
    assert "held back by silence" in smm("alerts", "explain", str(episode)).out
    ended = smm("alerts", "expire", made["id"][:8])
    assert ended.out.strip() == f"{made['id']} has ended"
    assert smm("alerts", "silences").out.strip() == "no silences"
    assert len(smm("alerts", "silences", "--expired", "--json").json["silences"]) == 1


def test_an_explanation_names_people_times_and_reasons(smm: Smm, pipe: Pipe) -> None:
    episode = pipe.fire(severity="critical")
    pipe.run()
    said = smm("alerts", "explain", str(episode)).out
    assert "tells pager" in said
    assert "step 1 at" in said
    assert "person:head" in said
    dry = smm("alerts", "explain", "--label", "alertname=New", "--label", "severity=critical")
    assert dry.code == 0
    assert "route routing.routes[0] to pages" in dry.out
    found = smm("alerts", "explain", "--label", "alertname=New", "--at", "2026-03-01T12:00:00", "--json").json
    assert found["at"] == "2026-03-01T12:00:00.000Z"
    assert found["routes"][0]["receiver"] == "everybody"


def test_a_channel_is_tried_out(smm: Smm, pipe: Pipe, server: ChannelServer) -> None:
    ran = smm("alerts", "test", "live")
    assert ran.code == 0
    assert ran.out.startswith("live: delivered in ")
    server.will(Scripted(404, "gone"))
    refused = smm("alerts", "test", "live")
    assert refused.code == 1
    assert "live: permanent" in refused.out
    assert "s3cret" not in refused.out
    server.will(Scripted(500))
    failed = smm("alerts", "test", "live", "--json")
    assert (failed.code, failed.json["outcome"]) == (1, "transient")
    assert smm("alerts", "test", "nope").code == 1
    assert failed.err == ""
    nowhere = smm("alerts", "test", "client-mail")
    assert (nowhere.code, nowhere.err) == (1, "name an address for this test: --to ADDRESS\n")


def test_figures_notifications_and_channels_are_shown(smm: Smm, pipe: Pipe) -> None:
    episode = pipe.fire(severity="critical")
    pipe.run()
    pipe.sql("UPDATE notifications SET state = 'delivered', finished_at = now(), latency_ms = 20")
    figures = smm("alerts", "figures")
    assert "1 alerts, 1 of them told" in figures.out
    assert "delivered: 100 % (2, 0 failed)" in figures.out
    assert smm("alerts", "figures", "--days", "1", "--json").json["pages"] == 1
    assert "channel:pager" in smm("alerts", "notifications", "--alert", str(episode)).out
    rows = smm("alerts", "notifications", "--state", "delivered", "--channel", "ops", "--json").json["notifications"]
    assert [row["channel"] for row in rows] == ["ops"]
    assert "live" in smm("alerts", "channels").out
    assert {row["name"] for row in smm("alerts", "channels", "--json").json["channels"]} == {
        "client-mail",
        "live",
        "ops",
        "pager",
    }


def test_who_is_on_call_is_shown_and_taken_over(smm: Smm, pipe: Pipe) -> None:
    assert "primary" in smm("oncall", "show").out
    assert smm("oncall", "overrides").out.strip() == "no overrides"
    made = smm("oncall", "override", "primary", "head", "--for", "12h", "--reason", "dentist", "--json").json
    assert made["person"] == "head"
    assert smm("oncall", "show", "--json").json["rotations"]["primary"]["now"]["override"] is True
    assert "head (override)" in smm("oncall", "show").out
    assert "dentist" in smm("oncall", "overrides").out
    assert len(smm("oncall", "overrides", "--rotation", "primary", "--json").json["overrides"]) == 1
    assert smm("oncall", "remove", made["id"]).out.strip() == "primary is as before"
    assert smm("oncall", "show", "--json").json["rotations"]["primary"]["now"]["override"] is False
    until = smm("oncall", "override", "primary", "ann", "--from", "2999-01-01", "--until", "2999-01-02T00:00:00+01:00")
    assert "ann takes over primary until 2999-01-01T23:00:00.000Z" in until.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("alerts", "show", "x"), "ID: is no id"),
        (("alerts", "list", "--state", "lost"), "must be one of pending"),
        (("alerts", "list", "nonsense"), "is no matcher"),
        (("alerts", "list", "--cursor", "x"), "--cursor"),
        (("alerts", "ack", "00000000", "--for", "soon"), "--for: is no length of time"),
        (("alerts", "silence", 'x=~".*"', "--comment", "c"), "must not match the empty string"),
        (("alerts", "silence", "a=b", "--comment", "c", "--for", "0s"), "--for"),
        (("alerts", "explain"), "give an alert's id, or the labels"),
        (("alerts", "explain", "--label", "nonsense"), "--label: must be NAME=VALUE"),
        (("alerts", "explain", "--label", "severity=error"), "labels.alertname: is required"),
        (("alerts", "explain", "--label", "alertname=A", "--at", "noon"), "--at"),
        (("oncall", "override", "primary", "ann"), "give either --until or --for"),
        (("oncall", "override", "primry", "ann", "--for", "1h"), 'did you mean "primary"'),
        (("oncall", "override", "primary", "eve", "--for", "1h"), "there is no person"),
    ],
)
def test_misuse_is_one_line_and_exit_code_two(smm: Smm, pipe: Pipe, words: tuple[str, ...], said: str) -> None:
    ran = smm(*words)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert ran.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("alerts", "show", str(uuid4())),
        ("alerts", "ack", "abcd1234"),
        ("alerts", "expire", str(uuid4())),
        ("oncall", "remove", str(uuid4())),
        ("alerts", "verdict", str(uuid4()), "needed"),
    ],
)
def test_what_does_not_exist_is_exit_code_one(smm: Smm, pipe: Pipe, words: tuple[str, ...]) -> None:
    ran = smm(*words)
    assert ran.code == 1
    assert len(ran.err.strip().splitlines()) == 1


def test_a_verdict_is_one_of_two_words(smm: Smm, pipe: Pipe) -> None:
    ran = smm("alerts", "verdict", str(pipe.fire()), "maybe")
    assert ran.code == 2
    assert "must be one of needed, not_needed" in ran.err


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("90s", 90), ("90m", 5400), ("2h", 7200), ("1d12h", 129_600), ("1.5h", 5400), ("1w", 604_800)],
)
def test_lengths_of_time_are_read_as_people_write_them(typed: str, seconds: float) -> None:
    assert alert_words.length(typed, "--for").total_seconds() == seconds


@pytest.mark.parametrize("typed", ["", "h", "2", "-2h", "2 h", "999w", "0m", "1h2"])
def test_what_is_no_length_of_time_is_refused(typed: str) -> None:
    with pytest.raises(Invalid):
        alert_words.length(typed, "--for")


def test_the_shortest_beginning_has_four_digits(smm: Smm, pipe: Pipe) -> None:
    episode = pipe.fire()
    with unit_of_work() as uow:
        assert alert_words.identifier(uow.session, "alert", str(episode)[:4]) == UUID(str(episode))
        with pytest.raises(Invalid):
            alert_words.identifier(uow.session, "alert", str(episode)[:3])

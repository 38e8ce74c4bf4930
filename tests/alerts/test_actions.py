"""What was done by itself is in the alert: in its first message or in one more, and in the message of its end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import clock
from app.alerts import actions, history, inbox
from app.infra.db import UnitOfWork, read_only, unit_of_work
from tests.alerts.pipe import CATALOG, Pipe, pipe
from tests.fixtures.waiting import until
from tests.health.catalogs import tcp, use

__all__ = ["pipe"]  # the fixture

RESTARTED = "12:03:05 restarted container claw-shop"
PROBED = "12:03:35 probed shop: it is up"

RULES = (
    tcp("bank")
    + """
[alerts.SMM_ServiceDown]
on = "health.down"
until = "health.up"
severity = "{labels.severity}"
summary = "{subject} is down"

[alerts.SMM_JobDead]
on = "jobs.dead"
expires_after = 3600
"""
)


@pytest.fixture
def shop(pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    """A pipeline with a rule about services that are down."""
    use(monkeypatch, home, CATALOG + RULES)
    yield pipe
    actions.use(None)


def note(*lines: str, service: str = "shop", tell: bool = True, since: datetime | None = None) -> list[UUID]:
    with unit_of_work() as uow:
        return actions.note_actions(uow, service, lines, tell=tell, now=clock.now(), since=since)


def last(pipe: Pipe) -> dict[str, Any]:
    return pipe.messages()[-1]


def taken(message: dict[str, Any]) -> str | None:
    """The paragraph "Actions taken" of a message."""
    return dict(message["paragraphs"]).get("Actions taken")


def story(episode: UUID) -> list[str]:
    with read_only() as session:
        return [entry["event"] for entry in history.of_episode(session, episode)]


def test_those_who_were_told_are_told_once_more_and_the_end_says_it_too(shop: Pipe) -> None:
    [episode] = shop.hear("health.down", "shop", severity="critical")
    shop.run()
    [before] = shop.groups()
    assert note(RESTARTED) == [episode]
    shop.run()
    assert shop.told() == [("first", "ops"), ("first", "pager"), ("acted", "ops"), ("acted", "pager")]
    assert (last(shop)["event"], taken(last(shop))) == ("updated", RESTARTED)
    [after] = shop.groups()
    unchanged = ("told_at", "waiting_since", "step", "repeats", "acknowledged")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]
    assert "acted" in story(episode)
    shop.hear("health.up", "shop")
    shop.run()
    assert shop.told()[-1] == ("resolved", "pager")
    assert taken(last(shop)) == RESTARTED


def test_a_group_that_was_not_told_yet_says_it_in_its_first_message(shop: Pipe) -> None:
    shop.hear("health.down", "shop")
    note(RESTARTED)
    shop.run()
    assert shop.told() == [("first", "ops")]
    assert taken(last(shop)) == RESTARTED
    shop.later(seconds=40)
    assert len(shop.told()) == 1


def test_several_notes_between_two_passes_make_one_message(shop: Pipe) -> None:
    shop.hear("health.down", "shop")
    shop.run()
    note(RESTARTED)
    note(RESTARTED, PROBED)
    shop.run()
    shop.later(seconds=40)
    assert shop.told() == [("first", "ops"), ("acted", "ops")]
    assert taken(last(shop)) == f"{RESTARTED}\n{PROBED}"


def test_a_quiet_note_is_kept_and_waits_for_the_next_message(shop: Pipe) -> None:
    [episode] = shop.hear("health.down", "shop")
    shop.run()
    note(RESTARTED, tell=False)
    shop.later(seconds=40)
    assert shop.told() == [("first", "ops")]
    assert shop.episode(episode).annotations["actions_taken"] == RESTARTED
    shop.later(seconds=3600)
    assert shop.told()[-1] == ("repeated", "ops")
    assert taken(last(shop)) == RESTARTED


def test_an_acknowledged_group_is_told_too_and_stays_acknowledged(shop: Pipe) -> None:
    [episode] = shop.hear("health.down", "shop", severity="critical")
    shop.run()
    shop.acknowledge(episode)
    note(RESTARTED)
    shop.run()
    shop.run()
    assert [reason for reason, channel in shop.told() if channel == "pager"] == ["first", "acknowledged", "acted"]
    assert [reason for reason, channel in shop.told() if channel == "ops"] == ["first", "acted"]
    assert shop.groups()[0].acknowledged
    note(RESTARTED, PROBED)
    shop.run()
    shop.run()
    assert [reason for reason, channel in shop.told() if channel == "ops"][2:] == ["acted"]


def test_what_is_silenced_is_not_told_of_and_the_silences_end_tells_all(shop: Pipe) -> None:
    shop.hear("health.down", "shop")
    shop.run()
    shop.sql(
        "INSERT INTO alert_silences (id, matchers, starts_at, ends_at, created_by, comment) VALUES"
        " (gen_random_uuid(), CAST(:matchers AS jsonb), now(), now() + interval '1 minute', 'ann', 'known')",
        matchers='[{"name": "service", "value": "shop", "isRegex": false, "isEqual": true}]',
    )
    note(RESTARTED)
    shop.run()
    shop.later(seconds=16)
    assert shop.told() == [("first", "ops")]
    shop.later(seconds=61)
    assert shop.told() == [("first", "ops"), ("again", "ops")]
    assert taken(last(shop)) == RESTARTED
    shop.later(seconds=40)
    assert len(shop.told()) == 2, "it was said"


def test_whoever_was_told_by_the_ladder_is_told_too(shop: Pipe) -> None:
    shop.hear("health.down", "shop", severity="critical")
    shop.run()
    shop.later(minutes=31)
    assert shop.told()[-1] == ("escalated", "ops")
    since = shop.groups()[0].waiting_since
    note(RESTARTED)
    shop.run()
    assert shop.told()[3:] == [("acted", "ops"), ("acted", "pager")]
    assert (shop.groups()[0].step, shop.groups()[0].waiting_since) == (1, since)


def test_of_several_alerts_the_message_says_about_which(shop: Pipe) -> None:
    shop.hear("health.down", "shop")
    shop.hear("health.down", "bank")
    shop.run()
    note(RESTARTED)
    shop.run()
    assert taken(last(shop)) == f"shop: {RESTARTED}"
    assert last(shop)["firing"] == 2


def test_alerts_of_others_about_the_service_have_it_and_keep_it(shop: Pipe) -> None:
    def post() -> None:
        body = [{"labels": {"alertname": "Slow", "service": "shop"}, "annotations": {"summary": "slow"}}]
        shop.sql(
            "INSERT INTO alert_inbox (received_at, source, alerts, body) VALUES (now(), 'api', 1, :body)",
            body=inbox.pack(json.dumps(body).encode()),
        )
        shop.run()

    post()
    [episode] = note(RESTARTED)
    post()
    assert shop.episode(episode).annotations == {"summary": "slow", "actions_taken": RESTARTED}
    assert [reason for reason, _ in shop.told()] == ["first", "acted"]


def test_alerts_about_something_else_are_left_alone(shop: Pipe) -> None:
    shop.hear("health.down", "bank")
    shop.hear("jobs.dead", "shop")
    [over] = shop.hear("health.down", "shop")
    shop.end(over)
    shop.run()
    assert note(RESTARTED) == []
    assert note(" ", service="bank") == []


def test_only_what_was_raised_since_then_is_meant(shop: Pipe) -> None:
    [episode] = shop.hear("health.down", "shop")
    assert note(RESTARTED, since=clock.now() + timedelta(minutes=1)) == []
    assert note(RESTARTED, since=clock.now() - timedelta(minutes=1)) == [episode]


def test_lines_are_single_short_and_without_secrets_and_of_many_the_newest_stay() -> None:
    assert actions.text_of(["a\nb  c", "", "x" * 1000, "password=hunter2"]).splitlines() == [
        "a b c",
        "x" * (actions.LONGEST_LINE - 1) + "…",
        "password=***",
    ]
    many = actions.text_of(str(number) for number in range(100)).splitlines()
    assert many[0] == "(70 earlier ones are left out)"
    assert many[1:] == [str(number) for number in range(70, 100)]


def test_an_alert_that_opens_after_the_first_action_has_it_from_the_beginning(shop: Pipe) -> None:
    def source(uow: UnitOfWork, service: str, now: datetime) -> Sequence[str]:
        return [RESTARTED] if service == "shop" else []

    actions.use(source)
    [shops] = shop.hear("health.down", "shop")
    [banks] = shop.hear("health.down", "bank")
    assert shop.episode(shops).annotations["actions_taken"] == RESTARTED
    assert "actions_taken" not in shop.episode(banks).annotations


def test_trouble_with_the_source_keeps_no_alert_from_opening(shop: Pipe) -> None:
    def source(uow: UnitOfWork, service: str, now: datetime) -> Sequence[str]:
        uow.execute("SELECT * FROM nothing_of_that_name")
        return []

    actions.use(source)
    [episode] = shop.hear("health.down", "shop")
    assert shop.episode(episode).annotations == {"summary": "shop is down"}


def test_an_alert_that_opens_while_something_is_noted_misses_nothing(shop: Pipe) -> None:
    """The note is not committed when the alert opens: the alert waits for it, and then reads it."""
    shop.sql("CREATE TABLE deeds (line text)")

    def source(uow: UnitOfWork, service: str, now: datetime) -> Sequence[str]:
        return [row.line for row in uow.execute("SELECT line FROM deeds")]

    actions.use(source)
    opener = threading.Thread(target=shop.hear, args=("health.down", "shop"))
    with unit_of_work() as uow:
        uow.execute("INSERT INTO deeds VALUES (:line)", line=RESTARTED)
        assert actions.note_actions(uow, "shop", [RESTARTED], tell=True, now=clock.now()) == []
        opener.start()
        until(lambda: shop.sql("SELECT FROM pg_stat_activity WHERE wait_event = 'advisory'"))
    opener.join()
    [row] = shop.sql("SELECT annotations FROM alert_episodes")
    assert row.annotations["actions_taken"] == RESTARTED

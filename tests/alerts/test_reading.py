"""Alerts and notifications as people read them: filtered, paged, with the same keys everywhere."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import clock
from app.alerts import acting, reading
from app.alerts.acting import Target
from app.alerts.matchers import parse_all
from app.alerts.reading import Page
from app.errors import Invalid, NotFound
from app.infra.db import read_only, unit_of_work
from tests.alerts.desk import Desk, desk
from tests.alerts.pipe import CATALOG, Pipe, pipe
from tests.health.catalogs import use

__all__ = ["desk", "pipe"]  # the fixtures

KEYS = {
    "id", "fingerprint", "name", "severity", "team", "service", "labels", "annotations", "state", "starts_at",
    "fired_at", "resolved_at", "duration_seconds", "summary", "impact", "causes", "recommendation", "actions_taken",
    "runbook", "dashboard", "acknowledged", "muted", "told_at",
}  # fmt: skip

RULE = """
[alerts.Trouble]
impact = "nothing can be sold"
causes = ["the disk is full", "the network is away"]
recommendation = "look at {subject}"
runbook = "postgres"
dashboard = "https://grafana.example.com/d/1"
"""


def listed(**wanted: Any) -> Page:
    with read_only() as session:
        return reading.list_episodes(session, now=clock.now(), **wanted)


def shown(episode: UUID) -> dict[str, Any]:
    with read_only() as session:
        return reading.get_episode(session, episode, now=clock.now())


def names(page: Page) -> list[str]:
    """By name: alerts of one millisecond have no order."""
    return sorted(item["name"] for item in page.items)


def test_an_alert_says_everything_its_rule_knows_and_what_people_did(
    pipe: Pipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, CATALOG + RULE)
    episode = pipe.fire(service="shop", team="platform")
    pipe.run()
    with unit_of_work() as uow:
        target, now, later = Target("episode", episode), clock.now(), timedelta(seconds=1)
        acting.acknowledge(uow, target, by="ann", now=now + later, minutes=30, comment="looking")
        acting.comment(uow, target, by="bob", now=now + 2 * later, text="it was the disk")
        acting.judge(uow, target, by="bob", now=now + 3 * later, verdict="not_needed")
    found = shown(episode)
    assert set(found) >= KEYS
    assert (found["summary"], found["impact"]) == ("it hurts", "nothing can be sold")
    assert found["causes"] == ["the disk is full", "the network is away"]
    assert found["recommendation"] == "look at shop"
    assert found["runbook"] == "docs/runbooks/postgres.md"
    assert found["acknowledged"]["by"] == "ann"
    assert [deed.partition(" ")[2] for deed in found["actions_taken"]] == [
        "ann acknowledged: looking",
        "bob said: it was the disk",
        "bob judged it not needed",
    ]
    assert found["verdict"] == {"verdict": "not_needed", "by": "bob"}
    assert [entry["event"] for entry in found["history"]][2:] == ["acknowledged", "comment", "verdict"]
    assert {entry["event"] for entry in found["history"][:2]} == {"group_opened", "told"}
    assert found["groups"][0]["receiver"] == "everybody"
    assert [row["state"] for row in found["notifications"]] == ["waiting"]
    json.dumps(found, allow_nan=False)


def test_a_list_has_the_same_keys(pipe: Pipe) -> None:
    pipe.fire()
    [item] = listed().items
    assert set(item) >= KEYS
    assert (item["duration_seconds"] >= 0, item["causes"], item["acknowledged"], item["muted"]) == (True, [], None, [])


def test_lists_are_filtered(pipe: Pipe) -> None:
    pipe.fire("Disk", severity="critical", instance="db-1")
    over = pipe.fire("Network", instance="db-2")
    pipe.fire("Shop")
    pipe.sql("UPDATE alert_episodes SET state = 'resolved', resolved_at = now() WHERE id = :id", id=over)
    pipe.sql("UPDATE alert_episodes SET team = 'platform', service = 'shop' WHERE name = 'Shop'")
    assert names(listed()) == ["Disk", "Network", "Shop"]
    assert names(listed(open_only=True)) == ["Disk", "Shop"]
    assert names(listed(state="resolved")) == ["Network"]
    assert names(listed(severity="critical")) == ["Disk"]
    assert names(listed(team="platform")) == names(listed(service="shop")) == names(listed(name="Shop")) == ["Shop"]


@pytest.mark.parametrize(
    ("matchers", "found"),
    [
        ('instance="db-1"', ["Disk"]),
        ('instance=""', ["Shop"]),
        ('instance!=""', ["Disk", "Network"]),
        ('instance=~"db-.*"', ["Disk", "Network"]),
        ('instance=~"db"', []),
        ('instance!~"db-[0-9]",severity="warning"', ["Shop"]),
        ("alertname=~'Disk|Shop'", []),
        ('alertname=~"Disk|Shop"', ["Disk", "Shop"]),
    ],
)
def test_matchers_mean_here_what_they_mean_elsewhere(pipe: Pipe, matchers: str, found: list[str]) -> None:
    pipe.fire("Disk", severity="critical", instance="db-1")
    pipe.fire("Network", instance="db-2")
    pipe.fire("Shop")
    assert names(listed(matchers=parse_all(matchers))) == found


@pytest.mark.parametrize("matchers", ["", 'number=~"[0-9]+"'])
def test_pages_show_every_alert_once(pipe: Pipe, monkeypatch: pytest.MonkeyPatch, matchers: str) -> None:
    monkeypatch.setattr(reading, "BATCH", 5)
    for number in range(23):
        pipe.fire("Storm", number=str(number))
    seen: list[str] = []
    cursor: UUID | None = None
    while True:
        page = listed(limit=4, cursor=cursor, matchers=parse_all(matchers))
        assert len(page.items) <= 4
        seen += [item["id"] for item in page.items]
        if page.next is None:
            break
        cursor = UUID(page.next)
    assert len(seen) == len(set(seen)) == 23
    assert seen == sorted(seen, reverse=True)


def test_a_rare_match_is_looked_for_page_by_page(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH", 2)
    monkeypatch.setattr(reading, "BATCHES", 2)
    wanted = pipe.fire("Rare", number="x")
    for number in range(9):
        pipe.fire("Storm", number=str(number))
    matchers = parse_all('number=~"x+"')
    first = listed(matchers=matchers)
    assert first.items == ()
    second = listed(matchers=matchers, cursor=UUID(first.next or ""))
    third = listed(matchers=matchers, cursor=UUID(second.next or ""))
    assert [item["id"] for item in third.items] == [str(wanted)]
    assert third.next is None


def test_what_does_not_exist_is_said(pipe: Pipe) -> None:
    with read_only() as session, pytest.raises(NotFound):
        reading.get_episode(session, uuid4(), now=clock.now())
    for wanted in ({"state": "lost"}, {"severity": "low"}):
        with pytest.raises(Invalid, match="must be one of"):
            listed(**wanted)


def test_notifications_are_listed_with_what_became_of_them(desk: Desk) -> None:
    first = desk.tell(to="77")
    desk.work(first)
    second = desk.tell("hook")
    with read_only() as session:
        page = reading.list_notifications(session, limit=1)
        rest = reading.list_notifications(session, limit=1, cursor=UUID(page.next or ""))
        delivered = reading.list_notifications(session, state="delivered")
        elsewhere = reading.list_notifications(session, channel="slack")
        mine = reading.list_notifications(session, group_id=desk.group)
    assert [item["id"] for item in (*page.items, *rest.items)] == [str(second), str(first)]
    assert rest.next is None
    [item] = delivered.items
    assert (item["state"], item["channel"], item["destination"], item["title"]) == (
        "delivered", "chat", "77", "postgres is down",
    )  # fmt: skip
    assert item["seconds_from_fact"] >= 0
    assert elsewhere.items == ()
    assert len(mine.items) == 2
    json.dumps(page.items, allow_nan=False)


@pytest.mark.parametrize(
    ("destination", "shown_as"),
    [
        ("", None),
        ("ann@example.com", "ann@example.com"),
        ("-1001234567890", "-1001234567890"),
        ("@ops_channel", "@ops_channel"),
        ("#ops", "#ops"),
        ("r0utingkey0fTests0123456789abcde", "r0ut…"),
    ],
)
def test_an_address_that_is_a_key_is_not_shown(destination: str, shown_as: str | None) -> None:
    assert reading.destination_shown(destination) == shown_as

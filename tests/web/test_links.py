"""The pages behind links in messages: looking does nothing, pressing acts once, and nothing else is opened by one."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from app import clock
from app.alerts import links, silences
from app.alerts.acting import Target
from app.alerts.links import Action
from app.config import settings
from app.infra.db import read_only
from tests.alerts.pipe import CATALOG, Pipe
from tests.health.catalogs import use


@pytest.fixture
def pipe(stranger: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    use(monkeypatch, home, CATALOG)
    return Pipe()


def path_of(target: Target, action: Action = Action.ACKNOWLEDGE, *, ago: timedelta = timedelta()) -> str:
    url = links.make(settings(), action, target, now=clock.now() - ago)
    return url.removeprefix(settings().external_url)


def group_of(pipe: Pipe) -> Target:
    pipe.run()
    return Target("group", pipe.groups()[0].id)


def test_a_scanner_that_follows_every_link_changes_nothing(stranger: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire("Trouble", instance="<b>db-1</b>")
    group = group_of(pipe)
    for action in Action:
        path = path_of(group, action)
        for method in ("GET", "HEAD", "GET", "OPTIONS", "PUT"):
            stranger.request(method, path)
        page = stranger.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
    assert pipe.episode(episode).state == "firing"
    assert pipe.sql("SELECT * FROM alert_links_used") == []
    assert pipe.sql("SELECT * FROM alert_silences") == []
    assert pipe.sql("SELECT * FROM alert_history WHERE by <> ''") == []


def test_the_page_says_what_the_button_does_and_about_what(stranger: TestClient, pipe: Pipe) -> None:
    pipe.fire("Trouble", instance="<b>db-1</b>", severity="critical")
    page = stranger.get(path_of(group_of(pipe))).text
    assert "Acknowledge this?" in page
    assert "Trouble" in page
    assert "critical" in page
    assert "it hurts" in page
    assert "&lt;b&gt;db-1&lt;/b&gt;" in page
    assert re.search(r'<form method="post"', page)
    assert "<script" not in page
    assert "style=" not in page


def test_pressing_acts_once_and_pressing_again_says_who_did_it_when(stranger: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire()
    path = path_of(group_of(pipe))
    done = stranger.post(path, data={"name": "Ann <ann>"})
    assert done.status_code == 200
    assert "<h1>Acknowledged</h1>" in done.text
    assert "Ann &lt;ann&gt; (link)" in done.text
    row = pipe.episode(episode)
    assert (row.state, row.acknowledged_by) == ("acknowledged", "Ann <ann> (link)")
    again = stranger.post(path, data={"name": "Bob"})
    assert again.status_code == 200
    assert "already done" in again.text
    assert "Ann &lt;ann&gt; (link)" in again.text
    assert "<form" not in stranger.get(path).text
    assert pipe.episode(episode).acknowledged_by == "Ann <ann> (link)"


def test_somebody_without_a_name_may_press_too(stranger: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire()
    assert stranger.post(path_of(group_of(pipe), Action.RESOLVE)).status_code == 200
    row = pipe.episode(episode)
    assert (row.state, row.resolved_by) == ("resolved", "somebody (link)")


def test_an_hours_silence_by_a_button(stranger: TestClient, pipe: Pipe) -> None:
    pipe.fire()
    page = stranger.post(path_of(group_of(pipe), Action.SILENCE), data={"name": "ann"})
    assert "Silenced for an hour" in page.text
    with read_only() as session:
        [made] = silences.list_silences(session, clock.now())
    assert made.created_by == "ann (link)"


def test_a_link_to_one_alert_does_not_touch_the_rest_of_its_group(stranger: TestClient, pipe: Pipe) -> None:
    mine, other = pipe.fire(instance="mine"), pipe.fire(instance="db-9")
    pipe.run()
    path = path_of(Target("episode", mine), Action.RESOLVE)
    assert "db-9" not in stranger.get(path).text
    stranger.post(path)
    assert (pipe.episode(mine).state, pipe.episode(other).state) == ("resolved", "firing")


def test_what_is_over_offers_no_button_and_a_late_press_is_told_so(stranger: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire()
    group = group_of(pipe)
    pipe.end(episode)
    pipe.run()
    path = path_of(group)
    assert "<form" not in stranger.get(path).text
    late = stranger.post(path)
    assert late.status_code == 409
    assert "resolved already" in late.text


def test_an_expired_link_says_so_and_does_nothing(stranger: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire()
    path = path_of(group_of(pipe), ago=links.LIFE)
    for answer in (stranger.get(path), stranger.post(path)):
        assert answer.status_code == 410
        assert "has expired" in answer.text
        assert "Trouble" not in answer.text
    assert pipe.episode(episode).state == "firing"


@pytest.mark.parametrize("token", ["x", "a.b", "A" * 60 + "." + "B" * 43, "A" * 5000, "%3Cscript%3E", "..%2f..%2fetc"])
def test_a_forged_link_is_a_plain_page_that_repeats_nothing(stranger: TestClient, pipe: Pipe, token: str) -> None:
    for answer in (stranger.get(f"/a/{token}"), stranger.post(f"/a/{token}")):
        assert answer.status_code == 404
        assert token[:20] not in answer.text or len(token) < 4
        assert "<script>" not in answer.text


def test_a_link_to_what_is_gone_is_not_found(stranger: TestClient, pipe: Pipe) -> None:
    path = path_of(Target("group", uuid4()))
    assert stranger.get(path).status_code == 404
    assert stranger.post(path).status_code == 404


def test_no_address_of_a_link_is_logged_or_passed_on(
    stranger: TestClient, pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    pipe.fire()
    path = path_of(group_of(pipe))
    with caplog.at_level("DEBUG"):
        page = stranger.get(path)
        stranger.get(path.replace("/a/", "/%61/"))
        stranger.post(path)
    token = path.removeprefix("/a/")
    logged = "\n".join(str(record.msg) for record in caplog.records if "httpx" not in record.name)
    assert "/a/***" in logged
    assert token not in logged
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "form-action 'self'" in page.headers["content-security-policy"]
    for address in re.findall(r'(?:href|src|action)="([^"]*)"', page.text):
        assert address.startswith("/assets/")
        assert stranger.get(address).status_code == 200


def test_a_huge_form_is_no_trouble(stranger: TestClient, pipe: Pipe) -> None:
    episode = pipe.fire()
    path = path_of(group_of(pipe))
    assert stranger.post(path, content=b"name=" + b"%00x" * 100_000).status_code == 200
    assert len(pipe.episode(episode).acknowledged_by) < 100
    assert stranger.post(path, content=b"&".join([b"a=b"] * 500)).status_code in (200, 404)


def test_while_the_database_is_away_a_link_asks_for_patience(
    stranger: TestClient, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.infra import db

    pipe.fire()
    path = path_of(group_of(pipe))
    db.dispose()
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    settings.cache_clear()
    answer = stranger.get(path)
    assert answer.status_code == 503
    assert "Try again" in answer.text
    assert "127.0.0.1" not in answer.text

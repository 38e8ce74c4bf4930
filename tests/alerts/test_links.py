"""Links in messages: signed, good for one thing and a time; and what they do when they are used."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import clock
from app.alerts import linked, links, silences
from app.alerts.acting import Target
from app.alerts.links import Action, Link
from app.alerts.matchers import joined
from app.config import Settings, settings
from app.errors import Conflict, Invalid, NotFound
from app.infra import signed
from app.infra.db import read_only, unit_of_work
from app.infra.signed import Expired
from tests.alerts.pipe import Pipe, pipe

__all__ = ["pipe"]  # the fixture

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
GROUP = Target("group", UUID("019f0e6c-7d55-7c1e-9d1a-3a1f6f0c2b11"))


@pytest.fixture
def config(home: Path) -> Settings:
    return Settings(home=home, public_url="https://ops.example.com/smm/")


def token_of(url: str) -> str:
    return url.rpartition("/a/")[2]


@pytest.mark.parametrize("target", [GROUP, Target("episode", uuid4())])
@pytest.mark.parametrize("action", Action)
def test_a_link_says_what_it_does_to_what_until_when(config: Settings, action: Action, target: Target) -> None:
    url = links.make(config, action, target, now=NOW, who="person:ann")
    assert url.startswith("https://ops.example.com/smm/a/")
    link = links.read(config, token_of(url), now=NOW)
    assert (link.action, link.target, link.who) == (action, target, "person:ann")
    assert link.expires_at == NOW + links.LIFE
    assert len(token_of(url)) < signed.LONGEST


def test_no_two_links_are_the_same(config: Settings) -> None:
    made = [links.make(config, Action.RESOLVE, GROUP, now=NOW) for _ in range(50)]
    assert len({links.read(config, token_of(url), now=NOW).id for url in made}) == 50


def test_a_link_is_good_to_its_last_second_whatever_clocks_on_walls_do(config: Settings) -> None:
    """The week holds the night in which Europe's clocks go forward."""
    token = token_of(links.make(config, Action.RESOLVE, GROUP, now=NOW))
    assert links.read(config, token, now=NOW + timedelta(days=7) - timedelta(seconds=1)).target == GROUP
    with pytest.raises(Expired):
        links.read(config, token, now=NOW + timedelta(days=7))


def test_a_clock_that_was_set_back_makes_no_link_invalid(config: Settings) -> None:
    token = token_of(links.make(config, Action.RESOLVE, GROUP, now=NOW))
    assert links.read(config, token, now=NOW - timedelta(days=2)).target == GROUP


def test_another_installations_link_is_not_ours(config: Settings, tmp_path: Path) -> None:
    other = Settings(home=tmp_path, public_url=config.public_url)
    with pytest.raises(Invalid, match="none of this installation's"):
        links.read(config, token_of(links.make(other, Action.RESOLVE, GROUP, now=NOW)), now=NOW)


def forged(config: Settings, **changes: Any) -> str:
    """A token whose words were changed and whose signature was not."""
    body, _, signature = token_of(links.make(config, Action.ACKNOWLEDGE, GROUP, now=NOW)).partition(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))) | changes
    changed = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"{changed}.{signature}"


@pytest.mark.parametrize("changes", [{"a": "resolve"}, {"g": uuid4().hex}, {"x": 9_999_999_999}, {"w": "boss"}])
def test_a_changed_word_makes_it_none_of_ours(config: Settings, changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        links.read(config, forged(config, **changes), now=NOW)


def test_an_end_of_base64_that_decodes_the_same_is_not_the_same_token(config: Settings) -> None:
    """The last character of a signature has bits that nothing reads: they must not make a second token."""
    token = token_of(links.make(config, Action.RESOLVE, GROUP, now=NOW))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    near = alphabet[alphabet.index(token[-1]) ^ 1]
    with pytest.raises(Invalid):
        links.read(config, token[:-1] + near, now=NOW)


@given(text=st.text(max_size=900))
def test_nothing_that_is_typed_raises_anything_else(text: str) -> None:
    config = Settings(admin_key="k" * 40, public_url="")
    with pytest.raises(Invalid):
        links.read(config, text, now=NOW)


def test_a_message_offers_three_links_each_its_own(config: Settings) -> None:
    offered = links.of_group(config, GROUP.id, NOW)
    assert [link.label for link in offered] == ["Acknowledge", "Silence for 1 h", "Resolve"]
    read = [links.read(config, token_of(link.url), now=NOW) for link in offered]
    assert [link.action for link in read] == list(Action)
    assert {link.target for link in read} == {GROUP}


def link_to(target: Target, action: Action = Action.ACKNOWLEDGE) -> Link:
    now = clock.now()
    return links.read(settings(), token_of(links.make(settings(), action, target, now=now)), now=now)


def use(link: Link, by: str = "ann (link)") -> linked.Use | None:
    with unit_of_work() as uow:
        return linked.use(uow, link, by=by, now=clock.now())


def group_of(pipe: Pipe) -> Target:
    pipe.run()
    return Target("group", pipe.groups()[0].id)


def test_a_link_acts_once_and_remembers_for_whom(pipe: Pipe) -> None:
    episode = pipe.fire()
    link = link_to(group_of(pipe))
    with read_only() as session:
        before = linked.about(session, link)
    assert (before.open, before.used) == (1, None)
    assert use(link) is None
    assert pipe.episode(episode).acknowledged_by == "ann (link)"
    earlier = use(link, by="bob (link)")
    assert earlier is not None
    assert earlier.by == "ann (link)"
    assert pipe.episode(episode).acknowledged_by == "ann (link)"


def test_of_two_presses_at_once_one_acts(pipe: Pipe) -> None:
    episode = pipe.fire()
    link = link_to(group_of(pipe), Action.RESOLVE)
    answers: list[linked.Use | None] = []
    gate = threading.Barrier(6)

    def press(name: str) -> None:
        gate.wait(10)
        answers.append(use(link, by=name))

    threads = [threading.Thread(target=press, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers.count(None) == 1
    assert {answer.by for answer in answers if answer is not None} == {pipe.episode(episode).resolved_by}
    assert len(pipe.sql("SELECT 1 FROM alert_history WHERE event = 'closed'")) == 1


def test_a_link_that_found_nothing_to_do_is_not_used_up(pipe: Pipe) -> None:
    episode = pipe.fire()
    link = link_to(group_of(pipe))
    pipe.sql("UPDATE alert_episodes SET state = 'resolved', resolved_at = now()")
    with pytest.raises(Conflict):
        use(link)
    assert pipe.sql("SELECT * FROM alert_links_used") == []
    pipe.sql("UPDATE alert_episodes SET state = 'firing', resolved_at = NULL")
    assert use(link) is None
    assert pipe.episode(episode).state == "acknowledged"


def test_a_link_to_what_is_not_kept_any_more_is_not_found(pipe: Pipe) -> None:
    link = link_to(Target("group", uuid4()))
    with read_only() as session, pytest.raises(NotFound):
        linked.about(session, link)


def test_an_hours_silence_is_about_what_the_alerts_have_in_common_and_ends(pipe: Pipe) -> None:
    for instance in "ab":
        pipe.fire("Slow", instance=instance, cluster="eu")
    link = link_to(group_of(pipe), Action.SILENCE)
    assert use(link) is None
    now = clock.now()
    with read_only() as session:
        [made] = silences.list_silences(session, now)
    assert joined(made.matchers) == '{alertname="Slow",cluster="eu",severity="warning"}'
    assert made.created_by == "ann (link)"
    assert timedelta(minutes=59) < made.ends_at - now <= timedelta(hours=1)


def test_a_silence_never_speaks_of_more_than_the_names_that_were_told() -> None:
    several = linked.silence_of([{"alertname": "A.1", "severity": "error"}, {"alertname": "B", "severity": "error"}])
    assert [str(matcher) for matcher in several] == ['severity="error"', 'alertname=~"A\\\\.1|B"']
    assert several[1].matches({"alertname": "A.1"})
    assert not several[1].matches({"alertname": "Ax1"})
    nothing_shared = linked.silence_of([{"alertname": "A", "x": "1"}, {"alertname": "B", "x": "2"}])
    assert [str(matcher) for matcher in nothing_shared] == ['alertname=~"A|B"']
    with pytest.raises(Conflict, match="21 different alerts"):
        linked.silence_of([{"alertname": f"A{number}"} for number in range(21)])
    with pytest.raises(Conflict, match="over already"):
        linked.silence_of([])

"""Messages to owners are planned once a step and address, and what is true no more is not told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app import catalog
from app.tokens import telling
from app.tokens.core import Step
from app.tokens.telling import Contact
from tests.tokens.letterbox import CHAT, MAIL, NOW, Letterbox, box

__all__ = ["box"]  # the fixture


def test_an_account_has_its_own_contacts_or_its_tenants_and_only_those_that_can_be_used(box: Letterbox) -> None:
    own = box.account("own", MAIL, CHAT, MAIL)
    assert telling.contacts_of(own) == (Contact("letters", "ann@studio.example"), Contact("chat", "77"))
    assert telling.contacts_of(box.account("tenants")) == (Contact("letters", "owner@acme.example"),)
    useless = box.account(
        "useless",
        {"channel": "gone", "to": "1"},
        {"channel": "off", "to": "1"},
        {"channel": "letters", "to": "no address"},
        {"channel": "chat"},
        {"channel": "hook", "to": "77"},
        {"channel": "pager", "to": "key"},
        {"channel": "console"},
    )
    assert telling.contacts_of(useless) == ()


def test_it_is_said_why_a_contact_cannot_be_used(box: Letterbox) -> None:
    del box
    asked = {
        "gone": "there is no channel gone",
        "off": "channel off is switched off",
        "hook": "webhook has no addresses to choose from",
        "pager": "pagerduty carries no letters to clients",
    }
    found = {name: telling.problem_of(Contact(name, "x"), catalog.current()) for name in asked}
    assert found == asked


def test_a_step_is_one_message_and_one_job_for_each_contact_however_often_it_is_planned(box: Letterbox) -> None:
    account = box.account("studio.berlin", MAIL, CHAT)
    assert [box.plan(account), box.plan(account)] == [2, 0]
    assert box.states(account) == [("reconnect", "chat", "waiting"), ("reconnect", "letters", "waiting")]
    assert len(box.jobs()) == 2
    [told] = box.history(account)
    assert (told.kind, told.by, told.generation) == ("told", "ladder", 3)
    assert told.facts == {"step": "reconnect", "channels": ["chat", "letters"], "messages": 2}
    assert "ann@studio" not in str(told.facts)


def test_two_who_plan_the_same_step_at_once_write_one_message(box: Letterbox) -> None:
    account = box.account("studio.berlin", MAIL)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: box.plan(account), range(4)))
    assert sorted(made) == [0, 0, 0, 1]
    assert len(box.jobs()) == 1


def test_what_waits_of_a_lower_step_is_not_told_any_more(box: Letterbox) -> None:
    account = box.account("studio.berlin", MAIL)
    box.plan(account)
    box.becomes(account, told="urgent")
    box.plan(account, "urgent", now=NOW + timedelta(days=5))
    assert box.states(account) == [("reconnect", "letters", "dropped"), ("urgent", "letters", "waiting")]


def test_a_new_climb_tells_anew_and_leaves_the_one_before_behind(box: Letterbox) -> None:
    account = box.account("studio.berlin", MAIL)
    box.plan(account)
    box.becomes(account, climb=2)
    assert box.plan(account, climb=2, now=NOW + timedelta(days=60)) == 1
    assert [(row.climb, row.state) for row in box.rows(account)] == [(1, "dropped"), (2, "waiting")]


def test_only_those_who_were_told_of_the_trouble_are_told_of_its_end(box: Letterbox) -> None:
    account = box.account("studio.berlin", MAIL, CHAT)
    box.plan(account)
    _chat, letter = box.jobs()
    box.work(letter)
    box.becomes(account, told="")
    assert box.plan(account, "restored", now=NOW + timedelta(hours=2)) == 1
    assert box.states(account) == [
        ("reconnect", "chat", "dropped"),
        ("reconnect", "letters", "sent"),
        ("restored", "letters", "waiting"),
    ]


def test_an_owner_who_never_heard_of_the_trouble_hears_nothing_of_its_end(box: Letterbox) -> None:
    account = box.account("studio.berlin", MAIL)
    box.plan(account)
    assert box.plan(account, "restored") == 0
    assert box.states(account) == [("reconnect", "letters", "dropped")]


def test_that_nobody_can_be_told_is_told_to_the_staff(box: Letterbox) -> None:
    account = box.account("studio.berlin", {"channel": "off", "to": "1"})
    assert box.plan(account) == 0
    [(kind, facts)] = box.signals()
    assert kind == "tokens.telling_failed"
    assert (facts["step"], facts["severity"]) == ("reconnect", "error")
    assert box.history(account) == []


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.NONE])
def test_what_stops_an_account_calls_a_person_at_once(step: Step) -> None:
    stops = step in (Step.LAST, Step.EXPIRED)
    assert telling.urgency_of(step) == ({"severity": "critical", "escalate": "now"} if stops else {"severity": "error"})

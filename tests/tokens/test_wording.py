"""What owners read: plain words, the account's name, by when, and what stops; for every step and every reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.notify.content import TITLE
from app.tokens import wording
from app.tokens.core import Step
from app.tokens.wording import Case, Letter, banner, letter, when

STEPS = (Step.RECONNECT, Step.URGENT, Step.LAST, Step.EXPIRED)
REASONS = (
    "", "app_removed", "checkpoint", "password_changed", "expired", "unconfirmed", "invalid", "permission_lost",
    "revoked", "grant_refused", "access_refused", "scope_missing", "access_denied", "lost_in_crash", "answer_lost",
    "undocumented", "unavailable", "unreachable", "not_extended",
)  # fmt: skip
JARGON = re.compile(
    r"token|oauth|refresh|grant|expir|api\b|credential|error|alert|firing|critical|severity|smm|unknown|None|[{}_]",
    re.IGNORECASE,
)
ENDS = datetime(2027, 3, 14, 8, tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin"))


def case(step: Step | None = Step.RECONNECT, **given: object) -> Case:
    return Case(**{"platform": "instagram", "name": "studio.berlin", "step": step, "ends_at": ENDS, **given})  # type: ignore[arg-type]


def cases() -> list[Case]:
    return [
        case(step, reason=reason, login=login, paused=paused, ends_at=ends_at)
        for step in STEPS
        for reason in REASONS
        for login in (True, False)
        for paused in (True, False)
        for ends_at in (ENDS, None)
    ]


def every() -> list[Letter]:
    return [letter(one) for one in [*cases(), case(None)]]


def test_no_letter_holds_a_word_of_ours() -> None:
    written = [*every(), *map(banner, cases())]
    assert {found[0] for one in written if (found := JARGON.search(one.title + one.text + one.button))} == set()


def test_every_letter_names_platform_and_account_and_is_short() -> None:
    for one in every():
        assert "Instagram" in one.title + one.text
        assert "studio.berlin" in one.title
        assert "studio.berlin" in one.text
        assert len(one.title) <= 100 < TITLE
        assert 100 < len(one.text) < 800
        assert "  " not in one.text


def test_every_letter_but_the_last_has_one_thing_to_do() -> None:
    *calls, thanks = every()
    assert {one.button for one in calls} == {"Log in to Instagram again"}
    assert (thanks.title, thanks.button) == ("studio.berlin is connected to Instagram again", "")
    assert "nothing that you need to do" in thanks.text


def test_a_letter_reads_like_one() -> None:
    found = letter(case(Step.URGENT, reason="password_changed"))
    assert found.title == "Urgent: please log in to Instagram again for studio.berlin by 14 March"
    assert found.text == (
        "Hello,\n\n"
        "for us to go on working for your Instagram account studio.berlin, you need to log in to Instagram once more."
        " The password of the account was changed, and Instagram then asks for a new login.\n\n"
        "Please do so by Sunday 14 March at 09:00 (Berlin time). From then on nothing is posted, answered or counted"
        " for studio.berlin until you have logged in.\n\n"
        "It takes a minute or two: follow the link below and log in to Instagram as studio.berlin."
    )


def test_a_banner_is_one_paragraph() -> None:
    assert banner(case(Step.LAST, paused=True, reason="app_removed")).text == (
        "Everything that we do for your Instagram account studio.berlin is paused: posts, replies and statistics. Our"
        " access was removed in the settings of the account. As soon as you have logged in, everything goes on by"
        " itself, with what has been waiting first."
    )


@pytest.mark.parametrize(
    ("step", "paused", "title"),
    [
        (Step.RECONNECT, False, "Please log in to Instagram again for studio.berlin"),
        (Step.LAST, False, "Last call: please log in to Instagram again for studio.berlin by 14 March"),
        (Step.LAST, True, "Paused: please log in to Instagram again for studio.berlin"),
        (Step.EXPIRED, True, "studio.berlin is not connected to Instagram any more: please log in"),
    ],
)
def test_the_subject_says_how_things_stand(step: Step, paused: bool, title: str) -> None:
    assert letter(case(step, paused=paused)).title == title


def test_what_has_stopped_is_not_told_to_stop_later() -> None:
    for step in (Step.LAST, Step.EXPIRED):
        text = letter(case(step, paused=True)).text
        assert "Please do so by" not in text
        assert "goes on by itself" in text


def test_trouble_of_ours_is_not_laid_at_the_owners_door() -> None:
    text = letter(case(reason="unavailable", login=False)).text
    assert "We could not renew" in text
    assert "asks its users" not in text


def test_moments_are_told_by_the_owners_clock() -> None:
    moment = datetime(2027, 3, 14, 8, 5, tzinfo=UTC)
    assert when(moment) == "Sunday 14 March at 08:05 (UTC)"
    assert when(moment.astimezone(ZoneInfo("America/New_York"))) == "Sunday 14 March at 04:05 (New York time)"


def test_a_name_of_any_length_leaves_the_letter_readable() -> None:
    one = letter(case(name="x{platform}\n" * 500))
    assert len(one.title) < 150
    assert "\n" not in one.title
    assert "{platform}" in one.title, "names are not filled in"


def test_every_reason_that_is_the_same_as_another_leads_to_words() -> None:
    assert set(wording._SAME.values()) <= set(wording._WHY)

"""What is not worth sending any more when its turn comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.skipping import ABOUT_WHAT_WAS_TOLD, Standing, reason_to_skip
from app.notify.message import Event

OVER = "it was over before this could be sent"
ANSWERED = "somebody answered before this could be sent"
NOTHING_TOLD = "nothing of it had been told here"
ANEW = "it has begun anew before this could be sent"
ENDED = "its end was told here already"


@pytest.mark.parametrize(
    ("event", "known", "why"),
    [
        (Event.FIRING, {}, None),
        (Event.FIRING, {"closed": True}, OVER),
        (Event.FIRING, {"closed": True, "told": True}, None),
        (Event.FIRING, {"closed": True, "in_doubt": True}, None),
        (Event.FIRING, {"closed": True, "told": True, "end_told": True}, ENDED),
        (Event.FIRING, {"acknowledged": True}, None),
        (Event.UPDATED, {"closed": True}, OVER),
        (Event.REPEATED, {"closed": True, "told": True}, OVER),
        (Event.REPEATED, {"acknowledged": True, "told": True}, ANSWERED),
        (Event.ESCALATED, {"acknowledged": True}, ANSWERED),
        (Event.ESCALATED, {"acknowledged": True, "in_doubt": True}, None),
        (Event.RESOLVED, {"closed": True}, NOTHING_TOLD),
        (Event.RESOLVED, {"closed": True, "maybe_told": True}, None),
        (Event.RESOLVED, {"closed": True, "in_doubt": True}, None),
        (Event.RESOLVED, {"closed": True, "in_doubt": True, "begun_anew": True}, ANEW),
        (Event.ACKNOWLEDGED, {"maybe_told": True, "begun_anew": True}, ANEW),
        (Event.ACKNOWLEDGED, {}, NOTHING_TOLD),
        (Event.ACKNOWLEDGED, {"told": True, "maybe_told": True}, None),
    ],
)
def test_whether_it_is_sent(event: Event, known: dict[str, Any], why: str | None) -> None:
    assert reason_to_skip(Standing(event, **known)) == why


FLAGS = st.fixed_dictionaries(
    {name: st.booleans() for name in ("closed", "acknowledged", "in_doubt", "told", "maybe_told", "end_told")}
)


@given(event=st.sampled_from([event for event in Event if event not in ABOUT_WHAT_WAS_TOLD]), known=FLAGS)
def test_what_lasts_unanswered_and_unended_is_always_sent(event: Event, known: dict[str, bool]) -> None:
    lasting = known | {"closed": False, "acknowledged": False, "end_told": False}
    assert reason_to_skip(Standing(event, **lasting)) is None


@given(known=FLAGS)
def test_a_test_message_is_always_sent(known: dict[str, bool]) -> None:
    assert reason_to_skip(Standing(Event.TEST, **known)) is None

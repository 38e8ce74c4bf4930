"""What people read of a reason, and of an entry of the history."""

from __future__ import annotations

import pytest

from app.tokens import history, reasons


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("app_removed", "the owner removed the app"),
        ("some_new_reason", "some new reason"),
        ("chat_id is unknown", "chat_id is unknown"),
        ("", ""),
    ],
)
def test_a_reason_is_told_in_words_and_an_unknown_one_as_it_is(reason: str, said: str) -> None:
    assert reasons.words(reason) == said


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            {"expires_at": "2026-11-20T09:00:00+00:00", "attempt": 2, "of": 3},
            "attempt 2 of 3, expires at 2026-11-20 09:00",
        ),
        ({"attempt": 0, "of": 3, "trouble": "dead"}, "trouble dead"),
        ({"step": "", "channels": []}, ""),
        ({"attempt": 1, "others": 0}, "attempt 1, others 0"),
    ],
)
def test_facts_that_belong_together_are_told_together_and_empty_ones_not_at_all(
    facts: dict[str, object], said: str
) -> None:
    assert history.said({"facts": facts}) == said

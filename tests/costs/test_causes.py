"""The causes of a difference add up to it, exactly, and the main one is the one that was made."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.costs.causes import Cause, Figures, Siblings, split

counts = st.integers(0, 10**7)
figures = st.builds(Figures, counts, st.integers(0, 10**10), st.integers(0, 10**12))
pairs = st.tuples(counts, counts)


@settings(max_examples=150)
@given(figures, figures, st.builds(Siblings, pairs, pairs))
def test_the_parts_add_up_to_the_difference(usual: Figures, actual: Figures, siblings: Siblings) -> None:
    found = split(usual, actual, siblings)
    assert sum(found.parts.values()) == actual.cost - usual.cost


@settings(max_examples=50)
@given(st.integers(1, 1000), st.integers(1, 5000), st.integers(1, 100), st.integers(2, 50))
def test_one_factor_that_changed_is_all_of_it(calls: int, tokens: int, price: int, times: int) -> None:
    usual = Figures(calls, calls * tokens, calls * tokens * price)
    for cause, actual in (
        (Cause.VOLUME, usual.times(times)),
        (Cause.TOKENS, Figures(calls, usual.tokens * times, usual.cost * times)),
        (Cause.PRICE, Figures(calls, usual.tokens, usual.cost * times)),
    ):
        found = split(usual, actual)
        assert found.main is cause
        assert found.parts[cause] == actual.cost - usual.cost


def test_a_loop_is_volume_in_words() -> None:
    found = split(Figures(5, 5000, 50_000), Figures(200, 210_000, 2_200_000))
    assert (found.label, found.words) == ("volume", "volume: 40 times the usual calls")


def test_grown_prompts_are_tokens() -> None:
    found = split(Figures(100, 100_000, 1_000_000), Figures(110, 1_300_000, 12_000_000))
    assert (found.label, found.words) == ("tokens", "tokens: 12 times the usual tokens a call")


def test_a_price_without_known_tokens_is_that_of_a_call() -> None:
    found = split(Figures(100, 0, 1_000_000), Figures(100, 0, 5_000_000))
    assert found.words == "price: 5.0 times the usual price of a call"


def test_calls_that_siblings_lost_came_over() -> None:
    usual, actual = Figures(10, 10_000, 1_000_000), Figures(90, 90_000, 9_000_000)
    models = split(usual, actual, Siblings(models=(100, 20)))
    assert (models.label, models.parts[Cause.MIX_MODELS], models.parts[Cause.VOLUME]) == ("mix", 8_000_000, 0)
    skills = split(usual, actual, Siblings(models=(100, 90), skills=(200, 140)))
    assert (skills.main, skills.label) == (Cause.MIX_SKILLS, "mix")
    assert skills.parts[Cause.MIX_MODELS] == 1_000_000
    assert skills.parts[Cause.MIX_SKILLS] == 6_000_000
    assert skills.parts[Cause.VOLUME] == 1_000_000


def test_siblings_that_grow_too_explain_nothing() -> None:
    found = split(Figures(10, 10_000, 1_000_000), Figures(90, 90_000, 9_000_000), Siblings((100, 800), (200, 1600)))
    assert found.main is Cause.VOLUME


def test_a_place_that_nobody_knew_is_volume() -> None:
    found = split(Figures(), Figures(1200, 1_000_000, 9_000_000))
    assert found.words == "volume: 1,200 calls where there are hardly any"
    assert found.parts[Cause.VOLUME] == 9_000_000

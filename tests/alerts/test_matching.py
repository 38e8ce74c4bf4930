"""Many rules at once give what each rule gives for itself."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from app.alerts.matchers import Matcher, matches_all, parse_all
from app.alerts.matching import Index, bits

NAMES = st.sampled_from(["alertname", "team", "instance"])
VALUES = st.sampled_from(["", "a", "b", "ab", "aab", "é", "a\nb", "\ud800"])
PATTERNS = st.sampled_from(
    ["", "a", "a|b", "a|ab", ".*", ".+", "a*", "(?s).+", "[^a]", "a.b", "é|\ud800", "^a$", "(?i)AB"]
)
MATCHERS = st.one_of(
    st.builds(Matcher, NAMES, VALUES, st.just(value=False), st.booleans()),
    st.builds(Matcher, NAMES, PATTERNS, st.just(value=True), st.booleans()),
)
RULES = st.lists(st.lists(MATCHERS, max_size=5), max_size=12)
LABELS = st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=5)


def one_by_one(rules: list[list[Matcher]], labels: dict[str, str]) -> list[int]:
    return [number for number, matchers in enumerate(rules) if matches_all(matchers, labels)]


@given(RULES, LABELS)
def test_the_index_finds_what_each_rule_finds(rules: list[list[Matcher]], several: list[dict[str, str]]) -> None:
    index = Index(rules)
    for labels in [*several, *several]:
        assert list(bits(index.matches(labels))) == one_by_one(rules, labels)


def test_a_rule_without_matchers_matches_everything_and_no_rules_match_nothing() -> None:
    assert Index([[], parse_all("a=b"), []]).matches({"a": "c"}) == 0b101
    assert Index([]).matches({"a": "c"}) == 0


def test_a_rule_may_say_several_things_of_one_label() -> None:
    index = Index([parse_all("a=~x.*,a!=xy,a!~.*z,a=~.*b"), parse_all("a=x,a=y"), parse_all("a=x,a=x")])
    assert [index.matches({"a": value}) for value in ("xb", "xy", "xzb", "xz", "x")] == [1, 0, 1, 0, 0b100]


def test_more_values_than_are_kept_are_still_right() -> None:
    index = Index([parse_all("n=~.*7"), parse_all("n!=7")])
    for number in range(45_000):
        assert index.matches({"n": str(number)}) == (number % 10 == 7) + 2 * (number != 7)


def test_expressions_too_large_to_be_taken_together_are_asked_one_by_one() -> None:
    """Each fits into RE2's memory; a hundred do not, which it answers with a refusal."""
    rules = [parse_all(f'x=~"{number}\\\\pL{{60}}"') for number in range(100)]
    index = Index([*rules, parse_all("x!~5.*")])
    for value in ("7" + "é" * 60, "5" + "a" * 60, "5" + "a" * 59):
        assert list(bits(index.matches({"x": value}))) == one_by_one([*rules, parse_all("x!~5.*")], {"x": value})


def test_a_thousand_expressions_against_ten_thousand_values_take_less_than_a_second() -> None:
    rules = [parse_all(f'instance=~".*-{number}-.*|db-{number}"') for number in range(1000)]
    index = Index(rules)
    started = time.perf_counter()
    masks = [index.matches({"instance": f"host-{number}-eu"}) for number in range(10_000)]
    assert time.perf_counter() - started < 1
    assert sum(map(bool, masks)) == 1000
    assert list(bits(masks[77])) == [77]

"""Matchers as Prometheus, Alertmanager and amtool write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.matchers import Matcher, joined, matches_all, matches_empty, parse, parse_all
from app.errors import Invalid

TEXTS = st.text(max_size=12)
REGEXES = st.lists(st.sampled_from(["a", "b", ".", "a|b", "[ab]", "(a)*", "x?", r"\d", "^", "$"]), max_size=5).map(
    "".join
)
MATCHERS = st.one_of(
    st.builds(Matcher, st.text(min_size=1, max_size=8), TEXTS, st.just(value=False), st.booleans()),
    st.builds(Matcher, st.sampled_from(["alertname", "_x", "a:b"]), REGEXES, st.just(value=True), st.booleans()),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('severity="critical"', Matcher("severity", "critical")),
        ("severity=critical", Matcher("severity", "critical")),
        (" severity \t!= critical ", Matcher("severity", "critical", is_equal=False)),
        ('team=~"a|b"', Matcher("team", "a|b", is_regex=True)),
        ('team!~"a|b"', Matcher("team", "a|b", is_regex=True, is_equal=False)),
        ("team=~a|b", Matcher("team", "a|b", is_regex=True)),
        ("x=", Matcher("x", "")),
        ('x=""', Matcher("x", "")),
        ("x==y", Matcher("x", "=y")),
        ('x="a, b"', Matcher("x", "a, b")),
        (r'x="say \"hi\"\n\\ \d"', Matcher("x", 'say "hi"\n\\ \\d')),
        (r"x=say \"hi\"", Matcher("x", 'say "hi"')),
        ("x=a\\", Matcher("x", "a\\")),
        ('"http.route"="/"', Matcher("http.route", "/")),
        ("job:rate=1", Matcher("job:rate", "1")),
    ],
)
def test_a_matcher_is_read(text: str, expected: Matcher) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("", "", "is no matcher"),
        ("severity", "", "is no matcher"),
        ("=x", "", "is no matcher"),
        ("a-b=x", "", "is no matcher"),
        ('""="x"', "name", "must not be empty"),
        ('x="a', "", "must end with its only bare quote"),
        (r'x="a\"', "", "must end with its only bare quote"),
        ('x="a"b"', "", "must end with its only bare quote"),
        ('x=a"b', "", "a quote within the value"),
        ('x=~"("', "value", "is no regular expression: missing )"),
        ('x!~"(?=a)"', "value", "is no regular expression: invalid perl operator"),
        ('x=~"a{1001}"', "value", "is no regular expression: invalid repetition size"),
        ('x=~"((a{100}){100}){100}"', "value", "is no regular expression"),
    ],
)
def test_what_is_no_matcher_is_refused_with_the_reason(
    text: str, field: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert problem.message.startswith(said) or said in problem.message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("{}", []),
        ('{a="b",c!~"d"}', ['a="b"', 'c!~"d"']),
        (' { a = "b" , c !~ d , } ', ['a="b"', 'c!~"d"']),
        ("a=b,c=d", ['a="b"', 'c="d"']),
        ('a="x,y",b=~"c{1,2}"', ['a="x,y"', 'b=~"c{1,2}"']),
        (r'a="\",",b=c', [r'a="\","', 'b="c"']),
        ("a=~b{2}", ['a=~"b{2}"']),
        (r"a=\",b=c", [r'a="\""', 'b="c"']),
    ],
)
def test_several_matchers_are_read(text: str, expected: list[str]) -> None:
    assert [str(matcher) for matcher in parse_all(text)] == expected


def test_every_bad_one_of_several_is_told() -> None:
    with pytest.raises(Invalid) as caught:
        parse_all('{a="b",,c,d=~"("}')
    assert len(caught.value.problems) == 3
    with pytest.raises(Invalid) as caught:
        parse_all('a="b,c=d')
    assert len(caught.value.problems) == 1


@given(MATCHERS)
def test_what_is_written_is_read_back(matcher: Matcher) -> None:
    assert parse(str(matcher)) == matcher
    assert Matcher.from_dict(matcher.as_dict()) == matcher


@given(st.lists(MATCHERS, max_size=4))
def test_what_is_written_together_is_read_back(matchers: list[Matcher]) -> None:
    assert list(parse_all(joined(matchers))) == matchers


@given(st.text(alphabet='ab=~!"\\,{} \n', max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_all(text)
    except Invalid:
        return
    assert parse_all(joined(found)) == found


def test_a_regular_expression_matches_the_whole_value() -> None:
    labels = {"team": "data"}
    assert parse("team=~dat.").matches(labels)
    assert not parse("team=~at").matches(labels)
    assert not parse("team=~data|x$|^da").matches({"team": "databases"})
    assert parse('team=~".*"').matches({})
    assert not parse('team=~"."').matches({"team": "\n"})


def test_the_opposite_of_a_matcher_matches_what_it_does_not() -> None:
    for value in ("", "a", "ab", "é", "\ud800"):
        for text in ("x=a", 'x=~"a.*"', 'x="é"', "x=~é"):
            opposite = text.replace("=", "!", 1) if "~" in text else text.replace("=", "!=", 1)
            assert parse(text).matches({"x": value}) is not parse(opposite).matches({"x": value})


def test_a_label_that_is_not_there_is_the_empty_string() -> None:
    assert parse("x=").matches({})
    assert parse("x!=a").matches({"y": "a"})
    assert not parse('x=~".+"').matches({})
    assert matches_all(parse_all("x=,y=1"), {"y": "1"})
    assert not matches_all(parse_all("x=,y=1"), {"y": "1", "x": "2"})


@pytest.mark.parametrize(
    ("text", "empty"),
    [("{}", True), ("a=", True), ("a!=b", True), ("a=~.*,b!~c", True), ("a=b", False), ("a=~.*,b=~.+", False)],
)
def test_matchers_that_hold_for_nothing_in_particular_are_known(text: str, empty: bool) -> None:
    assert matches_empty(parse_all(text)) is empty


def test_alertmanagers_json_is_read_with_its_defaults() -> None:
    assert Matcher.from_dict({"name": "a", "value": "b"}) == Matcher("a", "b")
    assert Matcher.from_dict({"name": "a", "value": "b", "isRegex": True, "isEqual": False}) == parse("a!~b")


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ({}, ["name", "value"]),
        ({"name": "a", "value": 3}, ["value"]),
        ({"name": "a", "value": "b", "isRegex": 1, "isEqual": None}, ["isRegex", "isEqual"]),
        ({"name": "", "value": "b"}, ["name"]),
        ({"name": "a", "value": "(", "isRegex": True}, ["value"]),
    ],
)
def test_wrong_json_is_refused_with_its_fields(written: dict[str, object], fields: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        Matcher.from_dict(written)
    assert [problem.field for problem in caught.value.problems] == fields


def test_an_expression_made_to_be_slow_is_not() -> None:
    matcher = Matcher("x", "(a*)*(a|a)*b", is_regex=True)
    started = time.perf_counter()
    assert not matcher.holds("a" * 100_000)
    assert time.perf_counter() - started < 1
    with pytest.raises(Invalid):
        parse_all('a="' + '\\"' * 50_000)
    parse_all("a=" + " \t" * 50_000 + "x")
    assert time.perf_counter() - started < 1

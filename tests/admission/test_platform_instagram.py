"""What Instagram's answers say of its limits, in every shape in which they come, and in some they should not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admission import platforms
from app.admission.platform import Limited, PlatformError, Reading, Sent, Trouble, Usage
from app.admission.platforms import instagram

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BUSINESS = "x-business-use-case-usage"


def read(*, headers: dict[str, Any] | None = None, **more: Any) -> Reading:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in (headers or {}).items()}
    return instagram.read(Sent(headers=texts, **more), NOW)


def entry(**more: Any) -> dict[str, Any]:
    shares = {"call_count": 0, "total_cputime": 0, "total_time": 0, "estimated_time_to_regain_access": 0}
    return {"type": "instagram", **shares, **more}


@pytest.mark.parametrize("key", ["call_count", "total_cputime", "total_time"])
def test_the_largest_percentage_of_the_app_counts(key: str) -> None:
    values = {"call_count": 3, "total_cputime": 2, "total_time": 1} | {key: 28}
    assert read(headers={"x-app-usage": values}) == Reading((Usage("app_usage", percent=28),))


def test_nothing_used_says_nothing() -> None:
    zero = {"call_count": 0, "total_cputime": 0, "total_time": 0}
    assert read() == read(headers={"x-app-usage": zero, BUSINESS: {"17841": [entry()]}}) == Reading()
    assert read(headers={"x-app-usage": {}, BUSINESS: {}}) == Reading()


def test_the_largest_percentage_of_all_business_objects_counts() -> None:
    usage = {"1": [entry(call_count=10), entry(total_time=35.5)], "2": [entry(total_cputime=20)]}
    assert read(headers={BUSINESS: usage}).usages == (Usage("business_usage", percent=35.5),)


def test_pages_and_advertisements_count_only_where_nothing_is_said_of_instagram() -> None:
    pages = entry(type="pages", call_count=99, estimated_time_to_regain_access=5)
    found = read(headers={BUSINESS: {"1": [pages, entry(call_count=3)]}})
    assert (found.usages, found.limited) == ((Usage("business_usage", percent=3),), None)
    alone = read(headers={BUSINESS: {"1": [pages]}})
    assert alone.usages == (Usage("business_usage", percent=99),)
    assert alone.limited == Limited(("business_usage",), timedelta(minutes=5))


def test_the_longest_time_until_access_is_regained_counts() -> None:
    usage = {"1": [entry(estimated_time_to_regain_access=7)], "2": [entry(estimated_time_to_regain_access=19)]}
    found = read(headers={BUSINESS: usage})
    assert (found.limited, found.trouble) == (Limited(("business_usage",), timedelta(minutes=19)), None)


def test_both_headers_are_read() -> None:
    found = read(headers={"x-app-usage": {"call_count": 5}, BUSINESS: {"1": [entry(call_count=6)]}})
    assert found.usages == (Usage("app_usage", percent=5), Usage("business_usage", percent=6))


@pytest.mark.parametrize(
    ("code", "sources"),
    [
        (4, ("app_usage",)),
        (17, ("app_usage", "business_usage")),
        (32, ("app_usage", "business_usage")),
        (613, ()),
        *[(code, ("business_usage",)) for code in range(80000, 80005)],
    ],
)
def test_every_code_of_a_rate_limit_is_known(code: int, sources: tuple[str, ...]) -> None:
    found = read(status=400, error=PlatformError(code))
    assert (found.trouble, found.limited) == (Trouble.RATE_LIMITED, Limited(sources))


def test_too_many_posts_are_a_limit_of_posts() -> None:
    found = read(status=400, error=PlatformError(9, 2207042))
    assert found.limited == Limited(("publishing_limit",))
    assert read(error=PlatformError(9, 2207069)).trouble is Trouble.UNKNOWN


def test_a_rate_limit_lasts_as_long_as_the_platform_says() -> None:
    usage = {"1": [entry(call_count=100, estimated_time_to_regain_access=3)]}
    error = PlatformError(80002)
    assert read(error=error, headers={BUSINESS: usage}).limited == Limited(("business_usage",), timedelta(minutes=3))
    later = read(error=error, headers={BUSINESS: usage, "retry-after": "600"})
    assert later.limited == Limited(("business_usage",), timedelta(minutes=10))


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None),
        ("30", timedelta(seconds=30)),
        ("Mon, 02 Mar 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("soon", None),
        ("-1", None),
        ("0", None),
        ("Mon, 02 Mar 2026 11:59:00 GMT", None),
    ],
)
def test_a_429_without_a_code_is_a_rate_limit(header: str | None, wait: timedelta | None) -> None:
    found = read(status=429, headers={} if header is None else {"retry-after": header})
    assert (found.trouble, found.limited) == (Trouble.RATE_LIMITED, Limited((), wait))


def test_retry_after_alone_is_no_rate_limit() -> None:
    assert read(status=503, headers={"retry-after": "30"}).limited is None


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (190, Trouble.TOKEN),
        (102, Trouble.TOKEN),
        (10, Trouble.TOKEN),
        (200, Trouble.TOKEN),
        (299, Trouble.TOKEN),
        (300, Trouble.UNKNOWN),
        (1, Trouble.PASSING),
        (2, Trouble.PASSING),
        (341, Trouble.PASSING),
        (100, Trouble.REQUEST),
        (0, Trouble.UNKNOWN),
        (-5, Trouble.UNKNOWN),
        (80005, Trouble.UNKNOWN),
        (79999, Trouble.UNKNOWN),
    ],
)
def test_other_errors_stop_nothing(code: int, trouble: Trouble) -> None:
    found = read(status=400, error=PlatformError(code))
    assert (found.trouble, found.limited) == (trouble, None)


@pytest.mark.parametrize(
    ("given_", "usage"),
    [
        ({"quota_usage": 3, "config": {"quota_total": 50, "quota_duration": 86400}}, (3, 50)),
        ({"quota_usage": 3}, (3, None)),
        ({"config": {"quota_total": 25}}, (0, 25)),
        ({"quota_usage": "4", "config": {"quota_total": "25"}}, (4, 25)),
        ({"quota_usage": 60, "config": {"quota_total": 50}}, (60, 50)),
        ({"quota_usage": 3, "config": None}, (3, None)),
        ({"quota_usage": 3, "config": []}, (3, None)),
    ],
)
def test_the_limit_of_posts_is_read_in_calls(given_: dict[str, Any], usage: tuple[int, int | None]) -> None:
    found = read(publishing_limit=given_)
    assert found == Reading((Usage("publishing_limit", used=usage[0], capacity=usage[1]),))


@pytest.mark.parametrize(
    "given_",
    [
        {"quota_usage": -1},
        {"quota_usage": None, "config": {"quota_total": 0}},
        {"quota_usage": [3]},
        {"quota_usage": True},
        {"config": {"quota_total": -5}},
        {"config": {"quota_total": 1e300}},
        {"quota_usage": "many"},
    ],
)
def test_a_limit_of_posts_that_is_none_is_ignored_and_said(given_: dict[str, Any]) -> None:
    found = read(publishing_limit=given_)
    assert found.usages == ()
    assert len(found.notes) == 1
    assert found.notes[0].startswith("publishing_limit: ")


@pytest.mark.parametrize(
    "text",
    ["", "x", "null", "[]", "7", '"{}"', "{", "[" * 9000, '{"call_count": ' + "9" * 5000 + "}", "\ud800", "x" * 20_000],
)
@pytest.mark.parametrize("name", ["x-app-usage", BUSINESS])
def test_a_header_that_is_no_object_is_ignored_and_said(name: str, text: str) -> None:
    found = read(headers={name: text})
    assert (found.usages, found.limited, found.trouble) == ((), None, None)
    assert len(found.notes) == 1
    assert found.notes[0].startswith(name)
    assert len(found.notes[0]) < 100


@pytest.mark.parametrize(
    ("value", "percent", "noted"),
    [
        (28.5, 28.5, False),
        ("28", 28, False),
        (" 28 ", 28, False),
        (100, 100, False),
        (150, 150, False),
        (1e6, 1000, True),
        (10**400, None, True),
        (-3, None, True),
        ("many", None, True),
        ("nan", None, True),
        ("1e999", None, True),
        (True, None, True),
        ([28], None, True),
        ({"a": 1}, None, True),
        (None, None, False),
    ],
)
def test_percentages_of_every_shape_are_borne(value: Any, percent: float | None, noted: bool) -> None:
    for found, source in (
        (read(headers={"x-app-usage": {"call_count": value}}), "app_usage"),
        (read(headers={BUSINESS: {"1": [entry(call_count=value)]}}), "business_usage"),
    ):
        assert found.usages == (() if percent is None else (Usage(source, percent=percent),))  # type: ignore[arg-type]
        assert bool(found.notes) is noted


def test_numbers_that_json_has_not_are_ignored() -> None:
    for word in ("NaN", "Infinity", "-Infinity", "1e999"):
        found = read(headers={"x-app-usage": f'{{"call_count": {word}, "total_time": 4}}'})
        assert found.usages == (Usage("app_usage", percent=4),)
        assert found.notes == ("x-app-usage: call_count is no number from 0: ignored",)


@pytest.mark.parametrize("usage", [{"1": None}, {"1": "x"}, {"1": [None, 3, []]}])
def test_entries_that_are_none_are_ignored_and_said(usage: dict[str, Any]) -> None:
    found = read(headers={BUSINESS: usage})
    assert (found.usages, found.limited) == ((), None)
    assert found.notes == (f"{BUSINESS}: an entry is no object: ignored",)


def test_an_entry_without_its_list_is_read() -> None:
    assert read(headers={BUSINESS: {"1": entry(call_count=8)}}).usages == (Usage("business_usage", percent=8),)


def test_an_absurd_time_until_access_is_regained_is_a_day() -> None:
    for minutes in (10**9, 1e300):
        found = read(headers={BUSINESS: {"1": [entry(estimated_time_to_regain_access=minutes)]}})
        assert found.limited == Limited(("business_usage",), timedelta(days=1))
        assert len(found.notes) == 1
    for minutes in (-5, "soon", None, [5]):
        found = read(headers={BUSINESS: {"1": [entry(estimated_time_to_regain_access=minutes)]}})
        assert found.limited is None


def test_only_headers_that_are_read_are_kept() -> None:
    sent = {"X-App-Usage": "{}", "Authorization": "Bearer s3cret", "Set-Cookie": "a", "RETRY-AFTER": "5"}
    assert platforms.headers_of("instagram", sent) == {"x-app-usage": "{}", "retry-after": "5"}
    assert platforms.headers_of("other", sent) == {"retry-after": "5"}
    assert platforms.headers_of(None, sent) == {"retry-after": "5"}


def test_a_platform_without_a_file_of_its_own_has_429() -> None:
    limited = platforms.read("other", Sent(status=429, headers={"retry-after": "5"}), NOW)
    assert (limited.limited, limited.trouble) == (Limited((), timedelta(seconds=5)), Trouble.RATE_LIMITED)
    assert platforms.read(None, Sent(status=200), NOW) == Reading()
    assert platforms.read("other", Sent(error=PlatformError(4)), NOW).limited is None


words = st.sampled_from(
    ["call_count", "total_time", "estimated_time_to_regain_access", "type", "quota_usage", "config", "quota_total"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | words, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(words | st.text(max_size=4), json_values, max_size=5)


@given(app=st.text() | objects.map(json.dumps), business=objects.map(json.dumps), limit=objects, code=st.integers())
def test_whatever_comes_it_is_read(app: str, business: str, limit: dict[str, Any], code: int) -> None:
    headers = {"x-app-usage": app, BUSINESS: business, "retry-after": app[:10]}
    sent = Sent(status=429, headers=headers, error=PlatformError(code), publishing_limit=limit)
    found = instagram.read(sent, NOW)
    assert all(0 <= usage.percent <= 1000 for usage in found.usages)
    assert all(0 <= usage.used <= 10**9 for usage in found.usages)
    assert found.limited is None or found.limited.wait is None or timedelta() < found.limited.wait <= timedelta(days=1)

"""[limits.NAME], [operations.NAME] and [http.NAME] as an operator writes them, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.catalog import Limiting, lines_of, parse
from app.errors import Invalid
from tests.health.catalogs import tcp

WEB = tcp("web")
API = '[limits.api]\ncapacity = 10\nwindow = "rolling"\nperiod = "hour"\n'
SPEND = '[limits.spend]\ncurrency = "usd"\ncapacity = 5\nwindow = "calendar"\nperiod = "day"\nper = "tenant"\n'
BEFORE = WEB + API + SPEND
LINES = BEFORE.count("\n")
PERIOD = "must be minute, hour, day, week, month, or whole seconds from 1 to 2678400"
CALLS = "must be a whole number of calls, at most 10000000000000"
CLASSES = 'must be "critical", "interactive", "normal" or "background"'


def good(text: str) -> Limiting:
    return parse(BEFORE + text).limiting


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse(BEFORE + text, subject="smm.toml")
    return lines_of(caught.value)


def limit(**keys: str) -> str:
    """A good limit with these keys, one on each line from the second on."""
    written = keys | {"capacity": "10", "window": '"rolling"', "period": '"hour"'} | keys
    return "[limits.x]\n" + "".join(f"{key} = {value}\n" for key, value in written.items())


def test_a_limit_has_its_defaults() -> None:
    found = good("").limits["api"]
    assert (found.name, found.units, found.window, found.seconds, found.per) == ("api", 10, "rolling", 3600, "account")
    assert (found.currency, found.timezone, found.warn_at) == ("calls", "UTC", (0.8, 0.95, 1.0))
    assert [found.ceiling(rank) for rank in range(4)] == [10, 10, 10, 9]
    assert (found.reserve, found.spread, found.reported_by, found.escalate_after) == (0.1, 0.05, (), 3)


def test_money_is_counted_in_millionths() -> None:
    assert good("").limits["spend"].units == 5_000_000
    assert good(limit(capacity="0.000001", currency='"usd"')).limits["x"].units == 1
    assert good(limit(capacity="10_000_000", currency='"usd"')).limits["x"].units == 10**13


def test_periods_are_words_or_seconds() -> None:
    assert [good(limit(period=period)).limits["x"].seconds for period in ("90", "1.0", '"week"')] == [90, 1, 604_800]


def test_ceilings_are_shares_of_the_capacity() -> None:
    found = good(limit(capacity="180", ceilings="{background = 0.95, normal = 0.5, critical = 1.1}")).limits["x"]
    assert [found.ceiling(rank) for rank in range(4)] == [198, 180, 90, 171]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("capacity", "0", "capacity: must be more than 0"),
        ("capacity", "-1", "capacity: must be more than 0"),
        ("capacity", "nan", "capacity: must be a finite number"),
        ("capacity", "inf", "capacity: must be a finite number"),
        ("capacity", "1e99", f"capacity: {CALLS}"),
        ("capacity", "1.5", f"capacity: {CALLS}"),
        ("capacity", "true", "capacity: must be a number"),
        ("capacity", '"ten"', "capacity: must be a number"),
        ("period", "0.5", f"period: {PERIOD}"),
        ("period", "0", f"period: {PERIOD}"),
        ("period", "-60", f"period: {PERIOD}"),
        ("period", "1.5", f"period: {PERIOD}"),
        ("period", "2678401", f"period: {PERIOD}"),
        ("period", "nan", f"period: {PERIOD}"),
        ("period", "true", f"period: {PERIOD}"),
        ("period", '"year"', f"period: {PERIOD}"),
        ("period", "[]", f"period: {PERIOD}"),
        ("window", '"sliding"', 'window: must be "calendar" or "rolling"'),
        ("per", '"user"', 'per: must be "account", "tenant" or "all"'),
        ("currency", '"eur"', 'currency: must be "calls" or "usd"'),
        ("timezone", '"Europe/Berln"', "timezone: is no IANA time zone, such as Europe/Berlin"),
        ("warn_at", "[0.95, 0.8]", "warn_at: must rise, such as [0.8, 0.95, 1.0]"),
        ("warn_at", "[0.8, 0.8]", "warn_at: must rise, such as [0.8, 0.95, 1.0]"),
        ("warn_at", "[]", "warn_at: must not be empty"),
        ("warn_at", "[-0.1]", "warn_at[0]: must be at least 0"),
        ("warn_at", "[0.8, nan]", "warn_at[1]: must be a finite number"),
        ("warn_at", "0.8", "warn_at: must be a list"),
        ("ceilings", "{backgrund = 0.5}", f"ceilings.backgrund: {CLASSES}"),
        ("ceilings", "{background = -0.1}", "ceilings.background: must be at least 0"),
        ("ceilings", "{background = 11}", "ceilings.background: must be at most 10"),
        ("ceilings", "0.95", "ceilings: must be a table"),
        ("reserve", "0.95", "reserve: must be at most 0.9"),
        ("spread", "2", "spread: must be at most 1"),
        ("escalate_after", "0", "escalate_after: must be at least 1"),
        ("escalate_after", "1.5", "escalate_after: must be a whole number"),
        (
            "reported_by",
            '["app"]',
            'reported_by[0]: must be "app_usage", "business_usage" or "publishing_limit"',
        ),
        ("platform", '"In sta"', "platform: must match ^[a-z][a-z0-9_-]{0,62}$"),
        ("capcity", "3", 'capcity: is not known (did you mean "capacity"?)'),
    ],
)
def test_a_mistake_in_a_limit_is_told_once_with_its_line_and_key(key: str, value: str, said: str) -> None:
    assert problems(limit(**{key: value})) == [f"smm.toml:{LINES + 2}: limits.x.{said}"]


@pytest.mark.parametrize("capacity", ["0.0000001", "10000001", "1e99"])
def test_an_amount_of_money_that_cannot_be_counted_is_a_mistake(capacity: str) -> None:
    said = "capacity: must be dollars from 0.000001 to 10000000"
    assert problems(limit(capacity=capacity, currency='"usd"')) == [f"smm.toml:{LINES + 2}: limits.x.{said}"]


@pytest.mark.parametrize("key", ["capacity", "window", "period"])
def test_what_a_limit_cannot_do_without_is_asked_for(key: str) -> None:
    text = "".join(line for line in limit().splitlines(keepends=True) if not line.startswith(key))
    assert problems(text) == [f"smm.toml:{LINES + 1}: limits.x.{key}: is required"]


def test_names_of_limits_are_keys_of_the_status_document() -> None:
    assert problems(limit().replace("limits.x", "limits.a-b")) == [
        f"smm.toml:{LINES + 1}: limits.a-b.name: must match ^[a-z][a-z0-9_]{{0,62}}$"
    ]


def test_an_operation_has_its_defaults() -> None:
    found = good("[operations.do]\n").operations["do"]
    assert (found.name, found.urgency, found.rank, found.consumes, found.requires) == ("do", "normal", 2, {}, ())
    assert (found.requires_token, found.expires_seconds, found.fall_back) == (False, 86_400, "")
    assert (found.unreachable, found.one_at_a_time) == ("refuse", False)


def test_every_key_of_an_operation_is_read() -> None:
    found = good(
        '[operations.do]\nclass = "critical"\nconsumes = {api = 10, spend = "estimate"}\nrequires = ["web"]\n'
        'requires_token = true\nexpires_seconds = 60\nfall_back = "x"\nunreachable = "allow"\none_at_a_time = true\n'
        'platform = "instagram"\ndescription = "y"\n'
    ).operations["do"]
    assert (found.rank, found.consumes, found.requires) == (0, {"api": 10, "spend": "estimate"}, ("web",))
    assert (found.requires_token, found.expires_seconds, found.fall_back) == (True, 60, "x")
    assert (found.unreachable, found.one_at_a_time) == ("allow", True)
    assert (found.platform, found.description) == ("instagram", "y")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("consumes = {ap = 1}", 'consumes.ap: there is no limit "ap" (did you mean "api"?)'),
        ("consumes = {unlike = 1}", 'consumes.unlike: there is no limit "unlike"'),
        (
            "consumes = {api = 11}",
            "consumes.api: must lie between 1 and 10, which is all that normal work may use of this limit",
        ),
        (
            "consumes = {api = 0}",
            "consumes.api: must lie between 1 and 10, which is all that normal work may use of this limit",
        ),
        (
            "consumes = {api = -1}",
            "consumes.api: must lie between 1 and 10, which is all that normal work may use of this limit",
        ),
        ("consumes = {api = 1.5}", 'consumes.api: must be a whole number, or "estimate"'),
        ("consumes = {api = true}", 'consumes.api: must be a whole number, or "estimate"'),
        ('consumes = {api = "guess"}', 'consumes.api: must be a whole number, or "estimate"'),
        ('consumes = {api = "estimate"}', "consumes.api: only a limit in usd is consumed by an estimate"),
        ('consumes = ["api"]', "consumes: must be a table"),
        ('class = "urgent"', f"class: {CLASSES}"),
        ('clas = "normal"', 'clas: is not known (did you mean "class"?)'),
        ('requires = ["wed"]', 'requires[0]: there is no service "wed" (did you mean "web"?)'),
        ("requires = [3]", "requires[0]: must be a text"),
        ("expires_seconds = 0", "expires_seconds: must be at least 1"),
        ("expires_seconds = 3_000_000", "expires_seconds: must be at most 2678400"),
        ('unreachable = "deny"', 'unreachable: must be "refuse" or "allow"'),
    ],
)
def test_a_mistake_in_an_operation_is_told_once_with_its_line_and_key(line: str, said: str) -> None:
    assert problems(f"[operations.do]\n{line}\n") == [f"smm.toml:{LINES + 2}: operations.do.{said}"]


def test_an_operation_that_its_class_could_never_do_is_a_mistake() -> None:
    said = "must lie between 1 and 9, which is all that background work may use of this limit"
    text = '[operations.do]\nconsumes = {api = 10}\nclass = "background"\n'
    assert problems(text) == [f"smm.toml:{LINES + 2}: operations.do.consumes.api: {said}"]


def test_a_broken_limit_is_not_told_again_by_the_operations_that_use_it() -> None:
    text = limit(capacity="0") + "[operations.do]\nconsumes = {x = 1}\n"
    assert problems(text) == [f"smm.toml:{LINES + 2}: limits.x.capacity: must be more than 0"]


def test_a_limit_of_the_api_has_its_defaults() -> None:
    found = good("[http.default]\nrate = 100\n").http["default"]
    assert (found.name, found.rate, found.burst, found.paths, found.callers) == ("default", 100, 0, (), ())


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("burst = 1", 1, "rate: is required"),
        ("rate = -1", 2, "rate: must be at least 0"),
        ("rate = 1.5", 2, "rate: must be a whole number"),
        ("rate = 10_000_001", 2, "rate: must be at most 10000000"),
        ("rate = 1\nburst = -1", 3, "burst: must be at least 0"),
        ("rate = 0\nburst = 5", 3, "burst: is not looked at while rate is 0"),
        ("rate = 1\nrates = 2", 3, 'rates: is not known (did you mean "rate"?)'),
        ('rate = 1\npaths = ["x"]', 3, "paths[0]: must be the beginning of a path, such as /api/v1/chat"),
        ('rate = 1\npaths = ["/", "/a b"]', 3, "paths[1]: must be the beginning of a path, such as /api/v1/chat"),
        ('rate = 1\npaths = ["/x?y=1"]', 3, "paths[0]: must be the beginning of a path, such as /api/v1/chat"),
        ('rate = 1\npaths = ["/x", "/x"]', 3, "paths[1]: is in http.a.paths already"),
        ('rate = 1\npaths = ["/x", "/x/"]', 3, "paths[1]: is in http.a.paths already"),
        (
            'rate = 1\npaths = ["/x"]\n[http.b]\nrate = 1\npaths = ["/y", "/x"]',
            6,
            "paths[1]: is in http.a.paths already",
        ),
        ('rate = 1\ncallers = [""]', 3, "callers[0]: must be the name of a key"),
        (
            'rate = 1\ncallers = ["c"]\n[http.b]\nrate = 1\ncallers = ["c"]',
            6,
            "callers[0]: is in http.a.callers already",
        ),
    ],
)
def test_a_mistake_in_a_limit_of_the_api_is_told_once_with_its_line_and_key(text: str, line: int, said: str) -> None:
    table = "b" if "[http.b]" in text else "a"
    assert problems(f"[http.a]\n{text}\n") == [f"smm.toml:{LINES + line}: http.{table}.{said}"]


@pytest.mark.parametrize("table", ["limits", "operations", "http"])
def test_what_is_no_table_is_told(table: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(f"{table} = 3\n{WEB}", subject="smm.toml")
    assert lines_of(caught.value) == [f"smm.toml:1: {table}: must be a table of tables, [{table}.NAME] each"]
    with pytest.raises(Invalid) as caught:
        parse(f"{WEB}[{table}]\nx = 3\n", subject="smm.toml")
    assert lines_of(caught.value) == [f"smm.toml:{WEB.count(chr(10)) + 2}: {table}.x: must be a table"]


def test_the_shipped_limits_are_those_of_the_house() -> None:
    found = parse(Path("deploy/smm-admin.toml").read_text()).limiting
    shipped = {name: (limit.units, limit.window, limit.period) for name, limit in found.limits.items()}
    assert shipped == {
        "instagram_api": (180, "calendar", "hour"),
        "instagram_api_rolling": (200, "rolling", "hour"),
        "instagram_dm": (190, "calendar", "hour"),
        "instagram_dm_rolling": (200, "rolling", "hour"),
        "instagram_publish": (20, "calendar", "day"),
        "instagram_publish_rolling": (50, "rolling", "day"),
    }
    assert {name for name, operation in found.operations.items() if operation.urgency == "background"} == {
        "instagram-analytics",
        "instagram-competitor-scraping",
        "llm-background",
    }

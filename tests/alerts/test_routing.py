"""The routing tree sends alerts where Alertmanager's would, and makes its groups."""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.matchers import matches_all, parse
from app.alerts.routing import Router, Target, group_labels, thread
from app.catalog import Route
from app.errors import Invalid

TREE = {
    "receiver": "ops",
    "group_by": ["alertname"],
    "routes": [
        {"matchers": ['severity="critical"'], "receiver": "pager", "group_wait": 0, "continue": True},
        {
            "matchers": ['team="data"'],
            "receiver": "data",
            "group_by": ["alertname", "cluster"],
            "repeat_interval": 3600,
            "ladder": "data",
            "routes": [
                {"matchers": ["service=~postgres|redis"], "group_interval": 60},
                {"matchers": ["service=qdrant"], "receiver": "search", "group_by": []},
            ],
        },
        {"matchers": ["team=~.+"], "receiver": "teams"},
    ],
}


def router(tree: dict[str, Any]) -> Router:
    return Router(Route.model_validate(tree))


def paths(labels: dict[str, str], tree: dict[str, Any] = TREE) -> list[str]:
    return [target.path.removeprefix("routing").replace(".routes", "") for target in router(tree).match(labels)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, [""]),
        ({"severity": "warning"}, [""]),
        ({"severity": "critical"}, ["[0]"]),
        ({"severity": "critical", "team": "data"}, ["[0]", "[1]"]),
        ({"team": "data", "service": "web"}, ["[1]"]),
        ({"team": "data", "service": "redis"}, ["[1][0]"]),
        ({"severity": "critical", "team": "data", "service": "qdrant"}, ["[0]", "[1][1]"]),
        ({"team": "web"}, ["[2]"]),
    ],
)
def test_an_alert_goes_to_the_deepest_routes_that_match(labels: dict[str, str], expected: list[str]) -> None:
    assert paths(labels) == expected


def test_a_route_has_what_it_does_not_say_from_the_routes_above_it() -> None:
    found = router(TREE).match({"team": "data", "service": "redis"})
    assert found == (
        Target(
            path="routing.routes[1].routes[0]",
            receiver="data",
            group_by=("alertname", "cluster"),
            group_wait=timedelta(seconds=30),
            group_interval=timedelta(minutes=1),
            repeat_interval=timedelta(hours=1),
            ladder="data",
        ),
    )
    (search,) = router(TREE).match({"team": "data", "service": "qdrant"})
    assert (search.receiver, search.group_by, search.group_interval) == ("search", (), timedelta(minutes=5))
    (pager,) = router(TREE).match({"severity": "critical"})
    assert (pager.receiver, pager.group_wait, pager.ladder) == ("pager", timedelta(), None)


def test_an_empty_tree_takes_everything_with_alertmanagers_times() -> None:
    assert router({}).match({"a": "b"}) == (
        Target("routing", None, (), timedelta(seconds=30), timedelta(minutes=5), repeat_interval=timedelta(hours=4)),
    )


def test_matchers_of_the_root_do_not_count() -> None:
    assert paths({"a": "b"}, {"matchers": ["a=c"]}) == [""]


def test_a_tree_that_was_not_checked_is_refused() -> None:
    with pytest.raises(Invalid):
        router({"routes": [{"matchers": ["team"]}]})


def test_alerts_of_a_group_share_the_labels_it_is_made_by() -> None:
    labels = {"cluster": "eu", "alertname": "Slow", "instance": "1"}
    target = Target("routing", group_by=("cluster", "room", "alertname"))
    assert list(group_labels(target, labels).items()) == [("alertname", "Slow"), ("cluster", "eu")]
    assert group_labels(Target("routing"), labels) == {}
    assert group_labels(Target("routing", group_by=("...",)), labels) == labels


def test_a_group_has_the_same_thread_in_every_process() -> None:
    target = Target("routing.routes[0]", "pager")
    plain = '["routing.routes[0]", "pager", [["a", "\\u00e9"], ["b", "2"]]]'
    assert thread(target, {"b": "2", "a": "é"}) == hashlib.sha256(plain.encode()).hexdigest()
    others = [
        thread(target, {}),
        thread(target, {"a": "2", "b": "é"}),
        thread(Target("routing.routes[1]", "pager"), {"a": "é", "b": "2"}),
        thread(Target("routing.routes[0]", "ops"), {"a": "é", "b": "2"}),
    ]
    assert len({thread(target, {"b": "2", "a": "é"}), *others}) == 5


MATCHERS = st.lists(st.sampled_from(["a=1", "a=2", "a!=1", "b=~1|2", "b!~1", "b="]), max_size=2)
ROUTES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.fixed_dictionaries({"matchers": MATCHERS, "continue": st.booleans()}),
    lambda below: st.fixed_dictionaries(
        {"matchers": MATCHERS, "continue": st.booleans(), "routes": st.lists(below, max_size=3)}
    ),
    max_leaves=12,
)
LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["", "1", "2", "3"]))


def alertmanagers_match(route: dict[str, Any], labels: dict[str, str], path: str, *, root: bool = True) -> list[str]:
    """As `dispatch.Route.Match` says it."""
    if not root and not matches_all([parse(text) for text in route["matchers"]], labels):
        return []
    found: list[str] = []
    for place, child in enumerate(route.get("routes", [])):
        below = alertmanagers_match(child, labels, f"{path}.routes[{place}]", root=False)
        found += below
        if below and not child["continue"]:
            break
    return found or [path]


@given(ROUTES, st.lists(LABELS, min_size=1, max_size=4))
def test_any_tree_sends_any_alert_where_alertmanager_would(tree: dict[str, Any], alerts: list[dict[str, str]]) -> None:
    compiled = router(tree)
    for labels in [*alerts, *alerts]:
        assert [target.path for target in compiled.match(labels)] == alertmanagers_match(tree, labels, "routing")


def test_ten_thousand_alerts_find_their_way_among_a_thousand_routes_in_a_second() -> None:
    wide = {"routes": [{"matchers": [f"team=t{number}", f'service=~"s{number}.*"']} for number in range(1000)]}
    compiled = router(wide)
    started = time.perf_counter()
    taken = [compiled.match({"team": f"t{n % 1000}", "service": f"s{n % 1000}-{n}"}) for n in range(10_000)]
    assert time.perf_counter() - started < 1
    assert [target.path for target in taken[4321]] == ["routing.routes[321]"]

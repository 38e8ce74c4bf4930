"""Which services stand behind another one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.catalog import behind, root_of


def test_causes_are_found_near_and_far_the_near_first() -> None:
    tree = {"alerting": ("beat", "workers"), "beat": ("postgres", "workers"), "workers": ("redis",), "redis": ()}
    assert behind("alerting", tree) == ("beat", "workers", "redis")
    assert behind("redis", tree) == ()
    assert behind("unknown", tree) == ()


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=4).map(tuple)))
def test_whatever_depends_on_what_no_cause_is_named_twice_and_none_is_the_service_itself(
    tree: dict[str, tuple[str, ...]],
) -> None:
    for name in tree:
        causes = behind(name, tree)
        assert name not in causes
        assert len(set(causes)) == len(causes)
        assert set(causes) <= set(tree)


def test_the_root_is_what_none_of_the_others_explains() -> None:
    tree = {"web": ("api", "cache"), "api": ("db",), "cache": (), "db": ()}
    assert root_of(("api", "cache", "db"), tree) == "cache"
    assert root_of(("api", "db"), tree) == "db"
    assert root_of(("a", "b"), {"a": ("b",), "b": ("a",)}) == "a"
    assert root_of((), tree) is None

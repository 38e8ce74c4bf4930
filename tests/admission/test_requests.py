"""What is asked is checked whole: every wrong field is named, nothing strange gets through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from app.admission import requests
from app.errors import Invalid
from tests.admission.limited import CATALOG
from tests.health.catalogs import use

ASKED: dict[str, Any] = {"operation": "reply", "account": "17841400000000001"}


@pytest.fixture(autouse=True)
def _catalogue(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, home, CATALOG)


def problems(body: object) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        requests.parse(body, caller="somebody")
    return {problem.field: problem.message for problem in caught.value.problems}


def test_an_operation_and_an_account_are_all_that_is_needed() -> None:
    found = requests.parse(ASKED, caller="somebody")
    assert (found.line, found.known.operation.name, found.defers) == ("instagram/17841400000000001", "reply", True)
    assert found.id
    assert not found.given_id


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = problems(
        {"operation": "reply", "account": "", "id": 7, "on_wait": "maybe", "estimate": -1, "colour": "red"}
    )
    assert set(wrong) == {"account", "id", "on_wait", "estimate", "colour"}


def test_an_unknown_operation_is_named_beside_what_else_is_wrong() -> None:
    assert set(problems({"operation": "rply", "account": "", "colour": "red"})) == {"operation", "account", "colour"}
    assert set(problems({**ASKED, "operation": "rply", "task": {}})) == {"operation", "task.task"}


def test_an_unknown_operation_is_answered_with_a_near_one() -> None:
    assert 'did you mean "reply"' in problems({**ASKED, "operation": "replly"})["operation"]


@pytest.mark.parametrize("expires_at", ["9999-12-31T23:59:59-14:00", "2199-01-01T00:00:00Z", "2020-01-01T00:00:00Z"])
def test_nobody_waits_for_ever(expires_at: str) -> None:
    assert set(problems({**ASKED, "expires_at": expires_at})) == {"expires_at"}


def test_what_goes_on_one_at_a_time_needs_a_task_whose_end_is_known() -> None:
    assert set(problems({**ASKED, "operation": "serial"})) == {"task"}
    assert requests.parse({**ASKED, "operation": "serial"}, caller="somebody", is_tried=True).task is None


@pytest.mark.parametrize("body", [None, 3, "reply", [], [ASKED], True])
def test_what_is_no_object_is_refused(body: object) -> None:
    assert problems(body)


@pytest.mark.parametrize("estimate", [-0.01, 1e7, float("nan"), float("inf"), "much", True])
def test_an_estimate_is_a_sane_number_of_dollars(estimate: object) -> None:
    assert "estimate" in problems({**ASKED, "operation": "draft", "tenant": "acme", "estimate": estimate})


def test_what_spends_money_says_how_much_and_whose() -> None:
    assert set(problems({**ASKED, "operation": "draft"})) == {"tenant", "estimate"}
    found = requests.parse({**ASKED, "operation": "draft", "tenant": "acme", "estimate": 0.25}, caller="somebody")
    assert found.estimate == 250_000


@pytest.mark.parametrize("name", ["", "a" * 201, "two\nlines", "nul\0", "lone \ud800", "bell\a"])
@pytest.mark.parametrize("field", ["account", "tenant", "id"])
def test_names_are_one_line_of_printable_text(field: str, name: str) -> None:
    assert field in problems({**ASKED, field: name})


@pytest.mark.parametrize(
    "name", ["a b", "a/b", "a:b", 'quote"', "back\\slash", "per%cent", "äöü", "日本語", "🦊", "{}", "*"]
)
def test_any_printable_name_is_kept_as_it_is(name: str) -> None:
    assert requests.parse({**ASKED, "account": name, "id": name}, caller="somebody").line == f"instagram/{name}"


def test_a_task_is_checked_before_anything_is_consumed() -> None:
    assert set(problems({**ASKED, "task": {"task": "tests.nowhere", "kwargs": []}})) == {"task.kwargs"}
    assert set(problems({**ASKED, "task": {"task": "tests.nowhere"}})) == {"task.task"}


def test_a_time_that_is_past_or_without_an_offset_is_refused() -> None:
    assert problems({**ASKED, "expires_at": "2020-01-01T00:00:00Z"}) == {"expires_at": "is past"}
    assert set(problems({**ASKED, "expires_at": "2120-01-01T00:00:00"})) == {"expires_at"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(body=st.dictionaries(st.sampled_from([*requests.AdmissionRequest.model_fields, "x"]), JSON, max_size=6))
def test_whatever_is_sent_is_understood_or_refused_with_a_field(body: dict[str, Any]) -> None:
    refused = None
    try:
        requests.parse({**ASKED, **body}, caller="somebody")
    except Invalid as error:
        refused = error
    assert refused is None or all(problem.field and problem.message for problem in refused.problems)

"""Calls as they come in: good ones are kept as they are, bad ones are named with every field that is wrong."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.costs.call_body import LlmCall
from app.costs.calls import Call, Parsed, body_of, parse, parse_items
from app.errors import Invalid
from app.infra.ids import uuid7
from tests.costs.sent import batch, body, call

AT = datetime(2026, 3, 2, 12, 30, 0, 123_000, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "costs.md"
LINES = "application/x-ndjson; charset=utf-8"


def kept(parsed: Parsed) -> list[int]:
    return [index for index, _ in parsed.good]


def wrong(parsed: Parsed) -> dict[int, list[str]]:
    """The fields that are named, by index."""
    return {one["index"]: [error["field"] for error in one["errors"]] for one in parsed.rejected}


def refused(**more: Any) -> dict[str, str]:
    """What is said of each field of a call that is otherwise good; the same alone, among others and on a line."""
    item = body(**more)
    said = parse(json.dumps(item).encode())
    assert said.good == []
    assert parse(batch([body(), item])).rejected[0]["errors"] == said.rejected[0]["errors"]
    assert parse(json.dumps(item).encode(), LINES) == said
    return {error["field"]: error["message"] for error in said.rejected[0]["errors"]}


def test_a_call_is_kept_as_it_was_sent_with_the_time_of_its_id() -> None:
    given_id = uuid7(AT)
    sent = body(
        id=str(given_id).upper(),
        agent="writer",
        user="ann@example.org",
        department="marketing",
        interaction="run-7",
        cached_tokens=300,
        cache_write_tokens=100,
        latency_ms=812.4,
        outcome="refused",
        request_id="req_1",
        prompt_hash="abc",
        tags={"campaign": "spring"},
    )
    [(_, found)] = parse(json.dumps(sent).encode()).good
    expected: tuple[Any, ...] = (
        *(str(given_id), AT.timestamp(), "acme", "reply", "writer", "ann@example.org", "marketing", "run-7"),
        *("anthropic", "claude-opus-4-6", 1000, 300, 100, 200, None, "later", None, 812, "refused", "req_1", "abc"),
        {"campaign": "spring"},
    )
    assert found == Call(*expected)


def test_nothing_but_the_id_the_provider_and_the_model_is_needed() -> None:
    found = call(tenant=None, skill=None, input_tokens=None, output_tokens=None)
    assert (found.tenant, found.skill, found.outcome, found.tags) == ("", "", "ok", None)
    assert wrong(parse(b"{}")) == {0: ["id", "provider", "model"]}


def test_a_member_that_is_null_was_not_given() -> None:
    names = ("tenant", "agent", "input_tokens", "usage", "cost", "latency_ms", "outcome", "tags")
    sent = {"id": str(uuid7()), "provider": "openai", "model": "gpt-5"} | dict.fromkeys(names)
    [(_, found)] = parse(json.dumps(sent).encode()).good
    assert (found.priced, found.outcome, found.tenant) == ("no_usage", "ok", "")


def test_one_call_many_and_one_a_line_are_the_same() -> None:
    sent = [body(), body(), body()]
    many = parse(batch(sent))
    assert kept(many) == [0, 1, 2]
    lines = "\r\n".join(json.dumps(one) for one in sent).encode() + b"\n\n"
    assert parse(lines, LINES) == many
    assert parse(json.dumps(sent[0]).encode()).good == many.good[:1]
    assert parse_items(sent) == many


def test_bad_calls_leave_good_ones_alone() -> None:
    parsed = parse(batch([body(), body(id="x", model=""), 7, body(), body(cached_tokens=1001)]))
    assert kept(parsed) == [0, 3]
    assert wrong(parsed) == {1: ["id", "model"], 2: ["body"], 4: ["cached_tokens"]}
    lines = b"\n".join([json.dumps(body()).encode(), b"{", b"[]", json.dumps(body(provider=1)).encode()])
    parsed = parse(lines, LINES)
    assert kept(parsed) == [0]
    assert wrong(parsed) == {1: ["body"], 2: ["body"], 3: ["provider"]}


@pytest.mark.parametrize("value", [-1, 10**10 + 1, pytest.param(10**200, id="10**200"), 1.5, "7", True])
@pytest.mark.parametrize("name", ["input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens"])
def test_counts_of_tokens_that_cannot_be_are_refused(name: str, value: object) -> None:
    assert name in refused(**{name: value})


def test_parts_of_the_input_are_not_more_than_it() -> None:
    assert call(cached_tokens=400, cache_write_tokens=600).cached_tokens == 400
    assert list(refused(cached_tokens=400, cache_write_tokens=601)) == ["cached_tokens", "cache_write_tokens"]
    assert list(refused(input_tokens=None, cached_tokens=4)) == ["input_tokens"]
    assert list(refused(id="x", cached_tokens=1001)) == ["id", "cached_tokens"]


@pytest.mark.parametrize("cost", [-0.01, 1e300, float("nan"), float("inf"), "1", pytest.param(10**400, id="10**400")])
def test_costs_that_cannot_be_are_refused(cost: object) -> None:
    assert list(refused(cost=cost)) == ["cost"]


@pytest.mark.parametrize("latency", [-1, float("nan"), 2**31, "fast"])
def test_latencies_that_cannot_be_are_refused(latency: object) -> None:
    assert list(refused(latency_ms=latency)) == ["latency_ms"]


@pytest.mark.parametrize(
    "given_id",
    [
        "5c1b6a2e-7d0f-4a53-9c3e-0d8f0c5c9a11",
        "01a1ff70-53c1-702c-24c2-21e22f32ff9c",
        "01a1ff7053c1702ca4c221e22f32ff9c",
        "01a1ff70-53c1-702c-a4c2-21e22f32ff9c\n",
        "",
        7,
    ],
)
def test_ids_that_are_no_uuid_of_version_7_are_refused(given_id: object) -> None:
    assert list(refused(id=given_id)) == ["id"]


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "a\x7fb", pytest.param("\ud800", id="surrogate"), "x" * 201, 7])
@pytest.mark.parametrize("name", ["tenant", "skill", "agent", "user", "model", "outcome", "request_id"])
def test_texts_that_cannot_be_written_down_are_refused(name: str, text: object) -> None:
    assert list(refused(**{name: text})) == [name]


@pytest.mark.parametrize(
    "tags", [["a"], {"a": 1}, {"a": {}}, {"": "x"}, {"a": "\0"}, {"a" * 101: "x"}, {"a": "x" * 201}, "a"]
)
def test_tags_are_an_object_of_short_texts(tags: object) -> None:
    assert [field.partition(".")[0] for field in refused(tags=tags)] == ["tags"]


def test_more_than_twenty_tags_are_refused() -> None:
    assert call(tags={f"{n}": "" for n in range(20)}).tags is not None
    assert list(refused(tags={f"{n}": "" for n in range(21)})) == ["tags"]


def test_an_unknown_member_is_named_and_never_more_than_can_be_read() -> None:
    assert list(refused(tenat="acme")) == ["tenat"]
    [rejected] = parse(json.dumps({**body(), **{f"{n}{'x' * 500}": 1 for n in range(100)}}).encode()).rejected
    assert len(rejected["errors"]) == 30
    assert max(len(error["field"]) for error in rejected["errors"]) == 120


def test_of_very_many_mistakes_none_is_read() -> None:
    for wrong in (
        body(**{f"x{place}": 1 for place in range(1001)}),
        body(tags={f"x{place}": 1 for place in range(1001)}),
    ):
        [rejected] = parse(batch([wrong, body()])).rejected
        assert rejected == {
            "index": 0,
            "errors": [{"field": "body", "message": "has 1,001 members that are wrong or unknown"}],
        }


def test_a_broken_text_is_the_fault_of_its_call_only() -> None:
    raw = batch([body(), body(user="MARK"), body()])
    for broken in (b"\\ud800", b"\xff\xfe", b"\\udfff\\ud800"):
        parsed = parse(raw.replace(b"MARK", broken))
        assert kept(parsed) == [0, 2]
        assert wrong(parsed) == {1: ["user"]}


def test_a_number_that_json_has_not_is_the_fault_of_its_call_only() -> None:
    raw = batch([body(), body(cost=123.25), body()])
    for broken in (b"NaN", b"-Infinity", b"1e999", b"9" * 5000):
        parsed = parse(raw.replace(b"123.25", broken))
        assert kept(parsed) == [0, 2]
        assert wrong(parsed) == {1: ["cost"]}


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"  ", b"[]", b"7", b"{", b"null", b"\xff"),
        *(b'{"calls": 7}', b'{"calls": []}', b'{"calls": [{}], "x": 1}'),
        pytest.param(b'{"calls": ' + b"[" * 100_000, id="deep"),
    ],
)
def test_a_body_that_holds_no_calls_is_refused_whole(raw: bytes) -> None:
    with pytest.raises(Invalid):
        parse(raw)


@pytest.mark.parametrize("kind", ["application/json", LINES])
def test_a_body_with_too_many_calls_is_refused_whole(kind: str) -> None:
    raw = b'{"calls": [' + b"{}," * 10_000 + b"{}]}" if kind != LINES else b"{}\n" * 10_001
    with pytest.raises(Invalid, match="the most is 10000"):
        parse(raw, kind)


def test_where_a_cost_comes_from_is_known() -> None:
    assert call().priced == "later"
    assert call(input_tokens=None).priced == "later"
    assert call(input_tokens=0, output_tokens=0).priced == "later"
    none = {"input_tokens": None, "output_tokens": None}
    assert (call(**none).priced, call(**none).cost_micro_usd) == ("no_usage", None)
    assert (call(**none, cost=0.25).priced, call(**none, cost=0.25).cost_micro_usd) == ("given", 250_000)
    assert (call(cost=0).priced, call(cost=0).cost_micro_usd) == ("given", 0)


@settings(max_examples=200, deadline=None)
@given(st.decimals(0, 1_000_000, places=9))
def test_a_cost_is_rounded_by_the_number_that_was_written(dollars: Decimal) -> None:
    expected = int((Decimal(repr(float(dollars))) * 1_000_000).to_integral_value(ROUND_HALF_EVEN))
    assert call(cost=float(dollars)).cost_micro_usd == expected
    assert [call(cost=cost).cost_micro_usd for cost in (0.0000005, 0.0000015, 0.0000025, 0.0000035)] == [0, 2, 2, 4]


def test_the_usage_of_a_provider_is_read() -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3, "output_tokens": 2}
    found = call(usage=usage, input_tokens=None, output_tokens=None)
    assert (found.input_tokens, found.cached_tokens, found.cache_write_tokens, found.output_tokens) == (18, 5, 3, 2)
    assert found.priced == "later"


def test_usage_that_cannot_be_read_is_refused() -> None:
    none = {"input_tokens": None, "output_tokens": None}
    assert list(refused(usage={"prompt_tokens": -1}, **none)) == ["usage.prompt_tokens"]
    assert list(refused(usage={"words": 7}, **none)) == ["usage"]
    assert list(refused(usage={"prompt_tokens": 7})) == ["input_tokens", "output_tokens"]


def test_what_is_kept_of_a_call_can_be_sent_again() -> None:
    none = {"input_tokens": None, "output_tokens": None}
    for one in (call(), call(cost=1.25), call(**none), call(**none, cost=0.1), call(tags={"a": "b"}, latency_ms=5)):
        assert [again for _, again in parse_items([body_of(one)]).good] == [one]
    assert set(body_of(call(**none, tenant=None, skill=None))) == {"id", "provider", "model", "outcome"}


def test_the_longest_names_of_a_call_fit_into_the_keys_of_its_sums() -> None:
    wide = "\U0001d7d8"
    names: dict[str, Any] = {"tenant": wide * 200, "provider": wide * 100, "model": wide * 200, "skill": wide * 100}
    found = call(**names)
    assert len("".join((found.tenant, found.provider, found.model, found.skill)).encode()) < 2600


def test_the_examples_on_the_page_are_good_calls() -> None:
    page = PAGE.read_text()
    blocks = [block for block in re.findall(r"^```json\n(.*?)^```", page, re.M | re.S) if block.startswith('{"id"')]
    sent = re.search(r"-d '(.*?)'$", page, re.M | re.S)
    assert sent is not None
    found = [parse(sent[1].encode()), parse(blocks[0].encode(), LINES), parse(blocks[1].encode())]
    assert [(len(one.good), one.rejected) for one in found] == [(1, []), (2, []), (1, [])]
    assert [name for name in LlmCall.model_fields if f"`{name}`" not in page] == []


def test_a_providers_name_has_no_slash_because_sums_name_models_with_one() -> None:
    named = {"id": str(uuid7()), "provider": "open/ai", "model": "openai/gpt-5"}
    [rejected] = parse(json.dumps(named).encode(), "application/json").rejected
    assert rejected["errors"] == [
        {"field": "provider", "message": "must be one line without control characters and without a slash"}
    ]

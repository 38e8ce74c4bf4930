"""Providers' `usage` objects, as their documentation shows them."""

from __future__ import annotations

from typing import Any

import pytest

from app.costs import usage
from app.costs.pricing import Tokens
from app.errors import Invalid

CHAT = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
RESPONSES = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 8},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 123,
}
MESSAGES = {
    "input_tokens": 50,
    "cache_read_input_tokens": 100_000,
    "cache_creation_input_tokens": 248,
    "cache_creation": {"ephemeral_5m_input_tokens": 248, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 503,
}
KIMI = {"prompt_tokens": 8950, "completion_tokens": 14, "total_tokens": 8964, "cached_tokens": 8704}


@pytest.mark.parametrize(
    ("provider", "given", "read"),
    [
        ("openai", CHAT, Tokens(2006, 1920, 0, 300)),
        ("openai", RESPONSES, Tokens(36, 8, 0, 87)),
        ("Azure", CHAT, Tokens(2006, 1920, 0, 300)),
        ("anthropic", MESSAGES, Tokens(100_298, 100_000, 248, 503)),
        ("anthropic", {"input_tokens": 7, "output_tokens": 1}, Tokens(7, 0, 0, 1)),
        ("moonshot", KIMI, Tokens(8950, 8704, 0, 14)),
        ("moonshotai", CHAT, Tokens(2006, 1920, 0, 300)),
        ("moonshot", {**KIMI, "prompt_tokens_details": {"cached_tokens": 8704}}, Tokens(8950, 8704, 0, 14)),
        ("moonshot", {**KIMI, "cached_tokens": None}, Tokens(8950, 0, 0, 14)),
    ],
)
def test_a_provider_s_own_object_is_read(provider: str, given: dict[str, Any], read: Tokens) -> None:
    assert usage.tokens(provider, given) == read


@pytest.mark.parametrize("given", [CHAT, RESPONSES, MESSAGES, KIMI])
def test_the_keys_tell_the_shape_where_the_provider_is_a_stranger(given: dict[str, Any]) -> None:
    names = {id(CHAT): "openai", id(RESPONSES): "openai", id(MESSAGES): "anthropic", id(KIMI): "moonshot"}
    assert usage.tokens("a-proxy", given) == usage.tokens(names[id(given)], given)


def test_keys_go_before_a_provider_s_name() -> None:
    assert usage.tokens("anthropic", RESPONSES) == usage.tokens("openai", RESPONSES)
    assert usage.tokens("openai", MESSAGES) == usage.tokens("anthropic", MESSAGES)


def test_the_whole_answer_will_do() -> None:
    assert usage.tokens("moonshot", {"id": "cmpl-1", "choices": [], "usage": KIMI}) == usage.tokens("moonshot", KIMI)


@pytest.mark.parametrize(
    ("provider", "given", "fields"),
    [
        (
            "openai",
            {"prompt_tokens": -1, "completion_tokens": True},
            ["usage.prompt_tokens", "usage.completion_tokens"],
        ),
        ("openai", {"prompt_tokens": 10**30}, ["usage.prompt_tokens"]),
        ("openai", {"prompt_tokens": 1.5}, ["usage.prompt_tokens"]),
        ("openai", {"prompt_tokens": None}, ["usage.prompt_tokens"]),
        ("openai", {"prompt_tokens": 1, "prompt_tokens_details": 7}, ["usage.prompt_tokens_details"]),
        (
            "openai",
            {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
            ["usage.prompt_tokens_details.cached_tokens"],
        ),
        ("moonshot", {"prompt_tokens": 1, "cached_tokens": 2}, ["usage.cached_tokens"]),
        ("moonshot", {"prompt_tokens": 9, "cached_tokens": "2"}, ["usage.cached_tokens"]),
        ("anthropic", {"input_tokens": "many", "output_tokens": []}, ["usage.input_tokens", "usage.output_tokens"]),
        ("openai", {"tokens": 5}, ["usage"]),
        ("openai", {}, ["usage"]),
        ("openai", [1], ["usage"]),
        ("openai", None, ["usage"]),
    ],
)
def test_what_is_wrong_is_named(provider: str, given: object, fields: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        usage.tokens(provider, given)
    assert [problem.field for problem in refused.value.problems] == fields

"""OpenAI: chat completions and the responses API; most who are compatible with either of them speak so, too.

https://platform.openai.com/docs/api-reference/chat/object and
https://platform.openai.com/docs/api-reference/responses/object: what a cache held is part of the input tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.costs.pricing import Tokens
from app.costs.usage_shape import Counts

SHAPE = "openai"
SUMMARY = "prompt_tokens and completion_tokens, or input_tokens with input_tokens_details"
PROVIDERS = ("openai", "azure")

_OF_OTHERS = frozenset({"cached_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"})


def fits(usage: Mapping[str, Any]) -> bool:
    """Its keys, of either interface, and none that others put beside them."""
    return ("prompt_tokens" in usage or "input_tokens" in usage) and _OF_OTHERS.isdisjoint(usage)


def tokens(usage: Mapping[str, Any]) -> Tokens:
    """What it says. Raises Invalid."""
    told = "prompt_tokens" if "prompt_tokens" in usage else "input_tokens"
    answered = "completion_tokens" if told == "prompt_tokens" else "output_tokens"
    counts = Counts(usage)
    sent = counts.needed(told)
    cached = counts.of(f"{told}_details", "cached_tokens")
    counts.parts(cached, sent, f"{told}_details", "cached_tokens")
    return counts.done(Tokens(sent, cached, 0, counts.of(answered)))

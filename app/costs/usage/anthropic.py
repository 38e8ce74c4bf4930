"""Anthropic's Messages API, whose `input_tokens` leave out what a cache held and what was written to one.

https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.costs.pricing import Tokens
from app.costs.usage_shape import Counts

SHAPE = "anthropic"
SUMMARY = "input_tokens beside cache_read_input_tokens and cache_creation_input_tokens"
PROVIDERS = ("anthropic", "claude", "bedrock")


def fits(usage: Mapping[str, Any]) -> bool:
    """Its keys; without any cache they are those of OpenAI's responses, except for the details."""
    return "input_tokens" in usage and "input_tokens_details" not in usage


def tokens(usage: Mapping[str, Any]) -> Tokens:
    """What it says. Raises Invalid."""
    counts = Counts(usage)
    read, written = counts.of("cache_read_input_tokens"), counts.of("cache_creation_input_tokens")
    sent = counts.needed("input_tokens") + read + written
    return counts.done(Tokens(sent, read, written, counts.of("output_tokens")))

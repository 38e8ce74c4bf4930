"""Moonshot (Kimi): as OpenAI's chat completions, but what its cache held stands beside `prompt_tokens`.

https://platform.moonshot.ai/docs/api/chat: whoever looks for it in `prompt_tokens_details` only counts all of it at
the full price.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.costs.pricing import Tokens
from app.costs.usage_shape import Counts

SHAPE = "moonshot"
SUMMARY = "prompt_tokens beside cached_tokens, and completion_tokens"
PROVIDERS = ("moonshot", "kimi")


def fits(usage: Mapping[str, Any]) -> bool:
    """Its keys."""
    return "prompt_tokens" in usage


def tokens(usage: Mapping[str, Any]) -> Tokens:
    """What it says. Raises Invalid."""
    counts = Counts(usage)
    sent = counts.needed("prompt_tokens")
    beside, inside = counts.of("cached_tokens"), counts.of("prompt_tokens_details", "cached_tokens")
    cached = max(beside, inside)
    told = ("cached_tokens",) if beside >= inside else ("prompt_tokens_details", "cached_tokens")
    counts.parts(cached, sent, *told)
    return counts.done(Tokens(sent, cached, 0, counts.of("completion_tokens")))

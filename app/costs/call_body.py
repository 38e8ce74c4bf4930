"""An LLM call as producers send it: what the API, a message and the replay of a call have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints

MOST_TOKENS = 10**10
"""Of one kind in one call: four orders of magnitude above any model's window."""

MOST_DOLLARS = 1_000_000
MOST_TAGS = 20
LONGEST_MILLISECONDS = 2**31 - 1

ID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_NO_SLASH = r"^[^\x00-\x1f\x7f/]*$"
"""Sums name a model PROVIDER/MODEL: the first slash ends the provider."""

# Tenant, provider, model and skill are one key of the roll-ups: together they must fit into an entry of an index
# (2,704 bytes), of whatever script their letters are.
_Short = Annotated[str, StringConstraints(max_length=100, pattern=_ONE_LINE)]
_Text = Annotated[str, StringConstraints(max_length=200, pattern=_ONE_LINE)]
_Provider = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_NO_SLASH)]
_Model = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_ONE_LINE)]
_TagName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_ONE_LINE)]
_Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]


class LlmCall(BaseModel):
    """One call. Nothing is converted: a number is a number and a text a text."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    id: Annotated[str, StringConstraints(pattern=ID)] = Field(
        description="a UUIDv7 that the producer made when the call was done; sent again, the call is known by it"
    )
    provider: _Provider = Field(description="openai, anthropic, moonshot …")
    model: _Model = Field(description="as the provider names it")
    tenant: _Text | None = Field(default=None, description="for which client")
    skill: _Short | None = Field(default=None, description="for which kind of work")
    agent: _Text | None = Field(default=None, description="by which agent")
    user: _Text | None = Field(default=None, description="on whose behalf")
    department: _Text | None = Field(default=None, description="of which department")
    interaction: _Text | None = Field(default=None, description="which of the agent's conversations or runs")
    input_tokens: _Tokens | None = Field(default=None, description="all that was sent, what a cache held included")
    cached_tokens: _Tokens | None = Field(default=None, description="of those: read from the provider's cache")
    cache_write_tokens: _Tokens | None = Field(default=None, description="of those: written to it")
    output_tokens: _Tokens | None = Field(default=None, description="all that came back, reasoning included")
    usage: dict[str, Any] | None = Field(
        default=None, description="instead of the token counts: the `usage` of the provider's own answer"
    )
    cost: Annotated[float, Field(ge=0, le=MOST_DOLLARS)] | None = Field(
        default=None, description="dollars, where the producer knows; else it is computed from the price table"
    )
    latency_ms: Annotated[float, Field(ge=0, le=LONGEST_MILLISECONDS)] | None = Field(
        default=None, description="how long it took"
    )
    outcome: _Short | None = Field(default=None, description='"ok", which is the default, or what went wrong')
    request_id: _Text | None = Field(default=None, description="the provider's id of it")
    prompt_hash: _Text | None = Field(default=None, description="the same for identical prompts")
    tags: Annotated[dict[_TagName, _Text], Field(max_length=MOST_TAGS)] | None = Field(
        default=None, description="whatever else it should be found by"
    )


class LlmCalls(BaseModel):
    """Many of them. The first wrong one ends the check: which others are wrong is found one by one."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    calls: Annotated[list[LlmCall], FailFast()]

"""LLM calls as they come in: good ones are kept, bad ones reported by their place, and nothing of those is guessed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import ValidationError

from app.catalog import MICRO
from app.config import settings
from app.costs import usage
from app.costs.call_body import LlmCall, LlmCalls
from app.costs.pricing import Tokens
from app.errors import Invalid, Problem
from app.infra.text import storable

LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
"""Content types of a body with one call a line."""

_LONGEST_NUMBER = 100
_MOST_PROBLEMS = 30
"""That are named of one call."""

_MOST_READ = 1_000
"""Of more problems none is read: a body full of unknown members would take a gigabyte."""

_SAID = {
    "id": "must be a UUIDv7, in its usual form with dashes",
    "text": "must be one line without control characters",
    "unicode": "must be Unicode text",
    "provider": "must be one line without control characters and without a slash",
}
_COUNTS = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")


class Call(NamedTuple):
    """One call. `at`: seconds since 1970, by its id. Its texts hold no control characters; one nobody gave is empty.

    `priced`: where the cost comes from: "given" by the producer, "table" (`price_id`), "unknown" (no price of such a
    model), "no_usage" (no tokens are known), "later" (not priced yet).
    """

    id: str
    at: float
    tenant: str
    skill: str
    agent: str
    user: str
    department: str
    interaction: str
    provider: str
    model: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    cost_micro_usd: int | None
    priced: str
    price_id: UUID | None
    latency_ms: int | None
    outcome: str
    request_id: str
    prompt_hash: str
    tags: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a body held: calls with their places, and `{"index", "errors": [{"field", "message"}]}` of the others."""

    good: list[tuple[int, Call]]
    rejected: list[dict[str, Any]]


def parse(raw: bytes, content_type: str = "application/json") -> Parsed:
    """The calls of a body: `{"calls": [...]}`, a single one, or one a line. Raises Invalid where it is none of these.

    A whole body is checked in one go; only where that fails each call is looked at by itself.
    """
    if content_type.partition(";")[0].strip().lower() in LINES:
        return _lines(raw)
    try:
        if b'"calls"' in raw[:64]:
            given = LlmCalls.model_validate_json(raw).calls
        else:
            given = [LlmCall.model_validate_json(raw)]
    except ValidationError:
        return parse_items(items_of(_decoded(raw)))
    _check_count(len(given))
    return _gathered(enumerate(given), [])


def parse_items(items: Sequence[object]) -> Parsed:
    """The same of calls that are decoded already. Raises Invalid where they are too many, or none."""
    _check_count(len(items))
    shaped: list[tuple[int, LlmCall]] = []
    rejected: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        try:
            shaped.append((index, LlmCall.model_validate(item)))
        except ValidationError as error:
            rejected.append(_rejection(index, _problems(error, item)))
    return _gathered(shaped, rejected)


def body_of(call: Call) -> dict[str, Any]:
    """The call as it could be sent again. What was not given, or was computed here, is left out."""
    found: dict[str, Any] = {
        name: value
        for name, value in call._asdict().items()
        if value not in ("", None) and name not in ("at", "cost_micro_usd", "priced", "price_id", *_COUNTS)
    }
    counts = {name: getattr(call, name) for name in _COUNTS}
    if call.priced != "no_usage" and (call.priced != "given" or any(counts.values())):
        found |= counts
    if call.priced == "given" and call.cost_micro_usd is not None:
        found["cost"] = call.cost_micro_usd / MICRO
    return found


def _gathered(shaped: Iterable[tuple[int, LlmCall]], rejected: list[dict[str, Any]]) -> Parsed:
    good = []
    for index, given in shaped:
        try:
            good.append((index, _call(given)))
        except Invalid as error:
            rejected.append(_rejection(index, error.problems))
    rejected.sort(key=lambda one: int(one["index"]))
    return Parsed(good, rejected)


def _call(given: LlmCall) -> Call:
    """Raises Invalid."""
    found = _tokens(given)
    if given.cost is not None:
        priced, cost = "given", _micro(given.cost)
    else:
        priced, cost = ("no_usage" if found is None else "later"), None
    tokens = found or Tokens()
    return Call(
        given.id.lower(),
        int(given.id[:8] + given.id[9:13], 16) / 1000,
        given.tenant or "",
        given.skill or "",
        given.agent or "",
        given.user or "",
        given.department or "",
        given.interaction or "",
        given.provider,
        given.model,
        *tokens,
        cost,
        priced,
        None,
        None if given.latency_ms is None else round(given.latency_ms),
        given.outcome or "ok",
        given.request_id or "",
        given.prompt_hash or "",
        given.tags or None,
    )


def _tokens(given: LlmCall) -> Tokens | None:
    """None where nothing is known of them. Raises Invalid."""
    counts = (given.input_tokens, given.cached_tokens, given.cache_write_tokens, given.output_tokens)
    if given.usage is not None:
        _refuse(_both(given.usage, counts))
        return usage.tokens(given.provider, given.usage)
    sent, cached, written, answered = counts
    if sent is None and not cached and not written:
        return None if answered is None else Tokens(output=answered)
    if (cached or 0) + (written or 0) > (sent or 0):
        _refuse(_parts(counts))
    return Tokens(sent or 0, cached or 0, written or 0, answered or 0)


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise Invalid(list(problems), subject="call")


def _both(given: object, counts: Sequence[object]) -> list[Problem]:
    named = [name for name, count in zip(_COUNTS, counts, strict=True) if count is not None]
    return [Problem(name, "is given beside `usage`: give one of them") for name in named if given is not None]


def _parts(counts: Sequence[int | None]) -> list[Problem]:
    sent, cached, written, _ = counts
    if (cached or 0) + (written or 0) <= (sent or 0):
        return []
    if sent is None:
        return [Problem("input_tokens", "is needed beside cached_tokens and cache_write_tokens, which are part of it")]
    wrong = [name for name, count in zip(_COUNTS[1:3], (cached, written), strict=True) if count]
    return [Problem(name, "is more than input_tokens, of which it is a part") for name in wrong]


def _micro(dollars: float) -> int:
    """Millionths of a dollar, by the decimal number that was written, half to even."""
    return int((Decimal(repr(dollars)) * MICRO).to_integral_value(ROUND_HALF_EVEN))


def _problems(error: ValidationError, item: object) -> list[Problem]:
    """Everything that is wrong with a call whose shape is wrong: also how its good counts go together."""
    if error.error_count() > _MOST_READ:
        return [Problem("body", f"has {error.error_count():,} members that are wrong or unknown")]
    found = [
        Problem(_field(one["loc"]), _said(one["type"], one["loc"], one["msg"]))
        for one in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    if isinstance(item, dict):
        wrong = {problem.field.partition(".")[0] for problem in found}
        counts = [_count(item.get(name)) for name in _COUNTS]
        found += [*_both(item.get("usage"), counts)] if "usage" not in wrong else []
        if item.get("usage") is None and not wrong & set(_COUNTS):
            found += _parts(counts)
    return found


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _field(location: Sequence[int | str]) -> str:
    parts = [str(part) for part in location if part != "[key]"]
    return storable(".".join(parts), limit=120) or "body"


def _said(kind: str, location: Sequence[int | str], message: str) -> str:
    if kind == "string_pattern_mismatch":
        return _SAID[location[0] if location in (("id",), ("provider",)) else "text"]
    if kind == "string_unicode":
        return _SAID["unicode"]
    if kind in ("model_type", "model_attributes_type"):
        return "must be an object"
    return message


def _rejection(index: int, problems: Sequence[Problem]) -> dict[str, Any]:
    named = [{"field": problem.field, "message": problem.message} for problem in problems[:_MOST_PROBLEMS]]
    return {"index": index, "errors": named}


def _lines(raw: bytes) -> Parsed:
    """One call a line; empty ones do not count."""
    lines = [line for line in raw.split(b"\n") if line.strip()]
    _check_count(len(lines))
    shaped: list[tuple[int, LlmCall]] = []
    rejected: list[dict[str, Any]] = []
    for index, line in enumerate(lines):
        try:
            shaped.append((index, LlmCall.model_validate_json(line)))
        except ValidationError:
            try:
                item = _decoded(line)
                shaped.append((index, LlmCall.model_validate(item)))
            except Invalid as error:
                rejected.append(_rejection(index, error.problems))
            except ValidationError as error:
                rejected.append(_rejection(index, _problems(error, item)))
    return _gathered(shaped, rejected)


def items_of(body: object) -> list[object]:
    """The calls of a decoded body: `{"calls": [...]}`, or one call. Raises Invalid for anything else."""
    if not isinstance(body, dict):
        raise _invalid("body", 'must be {"calls": [...]}, or one call')
    if "calls" not in body:
        return [body]
    if set(body) != {"calls"} or not isinstance(body["calls"], list):
        raise _invalid("calls", 'the body must be {"calls": [...]} and nothing else')
    items: list[object] = body["calls"]
    return items


def _check_count(count: int) -> None:
    most = settings().cost_batch_max
    if count == 0:
        raise _invalid("calls", "holds none")
    if count > most:
        raise _invalid("calls", f"holds {count} calls; the most is {most} (SMM_COST_BATCH_MAX)")


def _decoded(raw: bytes) -> Any:
    """Read leniently, for one call's broken text or number is that call's fault only. Raises Invalid for no JSON."""
    try:
        return json.loads(raw.decode("utf-8", "surrogateescape"), parse_int=_number)
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise _invalid("body", f"is no JSON: {where}") from None
    except RecursionError:
        raise _invalid("body", "is nested too deeply") from None


def _number(text: str) -> float:
    """A whole number; one that is far beyond every bound is not even read."""
    return int(text) if len(text) <= _LONGEST_NUMBER else float("inf")


def _invalid(field: str, message: str) -> Invalid:
    return Invalid([Problem(field, message)], subject="calls")

"""Calls on their way to Postgres: text that COPY reads, and lines of JSON of those that are set aside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from app.costs.calls import Call, body_of

COLUMNS = (
    "id",
    "at",
    "tenant",
    "skill",
    "agent",
    "user_id",
    "department",
    "interaction",
    "provider",
    "model",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_micro_usd",
    "priced",
    "price_id",
    "latency_ms",
    "outcome",
    "request_id",
    "prompt_hash",
    "tags",
)
"""Of cost_tracking, in the order of COPY."""

_NULL = "\x00"
"""Stands for no value until backslashes are doubled: no text of a call holds it."""


class Aside(NamedTuple):
    """A call that does not go where it belongs, and why: "too_old", "from_the_future". `call`: as it was sent."""

    reason: str
    detail: str
    event_id: str
    source: str
    call: dict[str, Any]


def rows(calls: Iterable[Call]) -> bytes:
    """Text for COPY: a line each. https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".

    A text without control characters needs nothing but its backslashes doubled.
    """
    text = "".join(map(_line, calls))
    return text.replace("\\", "\\\\").replace(_NULL, "\\N").encode()


def _line(call: Call) -> str:
    second, millis = divmod(round(call.at * 1000), 1000)
    cost, price, latency, tags = call.cost_micro_usd, call.price_id, call.latency_ms, call.tags
    return (
        f"{call.id}\t{_second(second)}.{millis:03}+00:00\t{call.tenant}\t{call.skill}\t{call.agent}\t"
        f"{call.user}\t{call.department}\t{call.interaction}\t{call.provider}\t{call.model}\t"
        f"{call.input_tokens}\t{call.cached_tokens}\t{call.cache_write_tokens}\t{call.output_tokens}\t"
        f"{_NULL if cost is None else cost}\t{call.priced}\t{_NULL if price is None else _price(price)}\t"
        f"{_NULL if latency is None else latency}\t{call.outcome}\t{call.request_id}\t{call.prompt_hash}\t"
        f"{_NULL if tags is None else _compact(tags)}\n"
    )


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def _price(price: UUID) -> str:
    return str(price)


def values_of(line: bytes) -> tuple[str | None, ...]:
    """A row's columns as they are, for a statement instead of COPY."""
    return tuple(_unescaped(line.decode()))


def calls_of(payload: bytes) -> list[Call]:
    """The calls that `rows` was given."""
    return [_call(line) for line in payload.decode().split("\n") if line]


def unpack(payload: bytes) -> list[dict[str, Any]]:
    """Each of them as it could be sent again: what is set aside when Postgres will not have it."""
    return [body_of(call) for call in calls_of(payload)]


def _call(line: str) -> Call:
    found: dict[str, Any] = dict(zip(Call._fields, _unescaped(line), strict=True))
    for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens"):
        found[name] = int(found[name])
    for name in ("cost_micro_usd", "latency_ms"):
        found[name] = None if found[name] is None else int(found[name])
    found["at"] = datetime.fromisoformat(found["at"]).timestamp()
    found["price_id"] = None if found["price_id"] is None else UUID(found["price_id"])
    found["tags"] = None if found["tags"] is None else json.loads(found["tags"])
    return Call(**found)


def _unescaped(line: str) -> list[str | None]:
    return [None if field == "\\N" else field.replace("\\\\", "\\") for field in line.split("\t")]


def asides(given: Iterable[Aside]) -> bytes:
    """A line of JSON each."""
    return b"".join(_compact(one._asdict()).encode() + b"\n" for one in given)


def asides_of(payload: bytes) -> list[Aside]:
    """Those that `asides` was given."""
    return [Aside(**json.loads(line)) for line in payload.splitlines()]


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

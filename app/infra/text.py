"""Text that Postgres can keep: jsonb and text refuse NUL and lone surrogates, wherever outsiders put them."""

from __future__ import annotations

from typing import Any


def storable(text: str, *, limit: int | None = None) -> str:
    """The text without NUL, with lone surrogates replaced, cut to `limit` characters."""
    clean = text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return clean if limit is None or len(clean) <= limit else clean[: limit - 1] + "…"


def json_safe(value: Any) -> Any:
    """The same JSON value with every string storable, keys included."""
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(str(key)): json_safe(item) for key, item in value.items()}
        case list() | tuple():
            return [json_safe(item) for item in value]
        case _:
            return value

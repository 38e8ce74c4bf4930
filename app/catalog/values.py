"""The small types that the catalogue's tables are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

NAME = r"^[a-z][a-z0-9_-]{0,62}$"
"""What services, kinds, teams and tags may be called."""

Severity = Literal["info", "warning", "error", "critical"]
WatchedBy = Literal["engine", "watchdog"]


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Seconds = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_number)]
Figure = Annotated[float, BeforeValidator(_number)]
Label = Annotated[str, Field(pattern=NAME)]

"""How the token of an account stands: told by whoever keeps tokens, through a function given at composition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

State = Literal["good", "refused", "disabled", "limited", "platform", "status", "app", "key", "unknown"]
"""Its platform accepts it; it, or the owner's consent, is no good; nobody looks after it; the platform wants no
questions; it has trouble of its own; it answered something unexpected; it refuses the app; the token cannot be opened
here; there is no such account."""


class Standing(Protocol):
    """`why` is for people, without secrets. The figures are None where they are not known, or the platform was not
    asked."""

    @property
    def state(self) -> State: ...
    @property
    def why(self) -> str: ...
    @property
    def latency_ms(self) -> float | None: ...
    @property
    def days_remaining(self) -> float | None: ...


Look = Callable[[str, str], Standing]
"""Platform and the account's id there. Raises Transient while Postgres is away."""

_look: Look | None = None


def use(look: Look) -> None:
    """Say who knows (composition)."""
    global _look
    _look = look


def look() -> Look | None:
    """Who knows; None in a process that was not put together."""
    return _look

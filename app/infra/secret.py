"""A text that gets nowhere by mistake: it prints as ***, and does not let itself be pickled, copied or dumped."""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn, SupportsIndex

from app.infra.scrub import MASK

_PREFIX = 12


class Secret:
    """A secret in clear. `reveal()` is the one way to it, and easy to search for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself: for what is sent to the platform, to a reader that may have it, or encrypted."""
        return self._value

    @property
    def digest(self) -> str:
        """What may be shown in its place: the first 12 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(self._value.encode("utf-8", "surrogatepass")).hexdigest()[:_PREFIX]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode("utf-8", "replace"), other._value.encode("utf-8", "replace"))

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, _spec: str) -> str:
        return MASK

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied: reveal() it where it is used")

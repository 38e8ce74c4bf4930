"""What was consumed becomes what was spent, or nothing."""

from __future__ import annotations

from collections.abc import Sequence


def give_back(key: str, subjects: Sequence[str]) -> bool:
    """Give back what an id consumed."""
    raise NotImplementedError

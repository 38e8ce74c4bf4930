"""Who waits for what: newcomers who need the same wait behind."""

from __future__ import annotations


def forget_waiting(key: str) -> None:
    """Forget that an id waits."""
    raise NotImplementedError

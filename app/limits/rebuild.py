"""After a loss of Redis: a new epoch, and counters as the last snapshot has them, first those that are asked for."""

from __future__ import annotations

from collections.abc import Sequence


def begin() -> None:
    """Redis has lost its memory: begin a new epoch (once, whoever notices first), in which counters come back."""
    raise NotImplementedError


def restore(subjects: Sequence[str]) -> None:
    """Bring the counters of these subjects back. Raises Transient while Postgres is away."""
    raise NotImplementedError

"""What a posted alert does to the episode of its fingerprint. Pure.

The rules are those of Alertmanager 0.25 (`provider/mem.Alerts.Put` and `types.Alert.Merge`): a later post wins, but the
earliest beginning stays, and an explicit end beats one that only stands for silence. Two things are different there: an
explicit end that has won is a mere time-out to the next post, and a second word that it is over may move its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from app.alerts.core import ACTIONS_TAKEN, Episode, State
from app.alerts.posted import Posted

SIGNAL = "signal"
"""Source of episodes that our own signals raised: they end by those, and what is posted does not end them sooner."""


@dataclass(frozen=True, slots=True)
class Open:
    """An episode that is not over, as far as a post can change it."""

    id: UUID
    source: str
    life: Episode
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    generator_url: str = ""
    occurrences: int = 1
    updated_at: datetime | None = None


def begin(post: Posted, episode_id: UUID, now: datetime) -> Open | None:
    """The episode that a post opens; None when it says that it is over already, and there is nothing to end."""
    if post.is_over:
        return None
    life = Episode(
        state=State.FIRING,
        starts_at=post.starts_at,
        ends_at=post.ends_at,
        ends_explicitly=post.ends_explicitly,
        fired_at=now,
    )
    return Open(
        episode_id, post.source, life, post.labels, post.annotations, post.generator_url, updated_at=post.received_at
    )


def merge(known: Open, post: Posted) -> Open:
    """The open episode after a post about it. It stays open even if the post ends it: ending is for time to do."""
    life = known.life
    is_over, was_over = post.is_over, _is_over(life, post.received_at)
    back = not is_over and (was_over or life.held)
    if life.held:
        life = (
            life if is_over else replace(life, held=False, ends_at=post.ends_at, ends_explicitly=post.ends_explicitly)
        )
    else:
        life = _spanned(known, post)
    if life.state is State.PENDING and not is_over:
        # Whoever posts it says that it fires: nothing more is waited for.
        life = replace(life, fires_at=min(life.fires_at or post.received_at, post.received_at))
    own = known.source == SIGNAL
    return replace(
        known,
        life=life,
        annotations={**(known.annotations if own else _ours(known.annotations)), **post.annotations},
        generator_url=post.generator_url or (known.generator_url if own else ""),
        occurrences=known.occurrences + back,
        updated_at=max(known.updated_at or post.received_at, post.received_at),
    )


def _ours(annotations: Mapping[str, str]) -> dict[str, str]:
    """What we have put there, and the next post does not know of."""
    return {ACTIONS_TAKEN: annotations[ACTIONS_TAKEN]} if ACTIONS_TAKEN in annotations else {}


def _spanned(known: Open, post: Posted) -> Episode:
    """Beginning and end after the post."""
    life = known.life
    starts_at = min(life.starts_at, post.starts_at)
    if life.ends_at is None:
        if not post.is_over:
            return replace(life, starts_at=starts_at)
        return replace(life, starts_at=starts_at, ends_at=post.ends_at, ends_explicitly=True)
    if post.starts_at >= life.ends_at and not post.is_over:
        starts_at = post.starts_at  # it had ended, and begins anew
    if _old_end_rules(known, life.ends_at, post):
        return replace(life, starts_at=starts_at)
    return replace(life, starts_at=starts_at, ends_at=post.ends_at, ends_explicitly=post.ends_explicitly)


def _old_end_rules(known: Open, ends_at: datetime, post: Posted) -> bool:
    if ends_at <= post.ends_at or post.ends_at <= known.life.starts_at:
        return False
    if post.is_over:
        return _is_over(known.life, post.received_at)
    return known.life.ends_explicitly or known.source == SIGNAL


def _is_over(life: Episode, at: datetime) -> bool:
    return life.ends_at is not None and life.ends_at <= at

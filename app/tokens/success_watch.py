"""Refreshes of a platform that fail too often are told of once, and once more when they succeed again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app import catalog, signals
from app.catalog import Tokens as Settings
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.tokens import success
from app.tokens.success import Share, Tries

LOW, BACK = "tokens.success_low", "tokens.success_back"
BETTER = 0.2
"""Of what the target leaves to failures: a share must be so much above the target to be well again."""

REASONS = 3


@dataclass(frozen=True, slots=True)
class Watched:
    """A platform's refreshes within the window."""

    platform: str
    share: Share
    reasons: Sequence[dict[str, Any]]

    def is_low(self, settings: Settings, *, is_on: bool) -> bool:
        """Too few succeed. Once told, it lasts until clearly more do, or there is next to nothing to judge by."""
        if self.share.share is None or self.share.tries < settings.success_least / (2 if is_on else 1):
            return False
        above = (1 - settings.success) * BETTER if is_on else 0.0
        return self.share.share < settings.success + above

    def facts(self, settings: Settings) -> dict[str, Any]:
        """What the signals say."""
        return {
            **self.share.document(),
            "target": settings.success,
            "days": settings.success_days,
            "by_reason": list(self.reasons[:REASONS]),
        }


def watch(now: datetime) -> dict[str, int]:
    """Compare every platform's share with [tokens] success; how many fell below it and came back. Raises Transient."""
    settings = catalog.current().connecting.tokens
    with read_only() as session:
        rows = success.read(session, now=now, days=settings.success_days)
    found = {platform: _watched(platform, rows) for platform in {row.platform for row in rows}}
    with unit_of_work() as uow:
        known = {row.platform for row in uow.execute("SELECT platform FROM token_low FOR UPDATE")}
        began = sum(_judge(uow, found[name], settings, is_on=name in known, now=now) for name in sorted(found))
        for name in sorted(known - found.keys()):
            _end(uow, _watched(name, ()), settings, now)
        left = uow.execute("SELECT count(*) FROM token_low").scalar_one()
    return {"low": began, "back": len(known) + began - left}


def _watched(platform: str, rows: Sequence[Tries]) -> Watched:
    own = [row for row in rows if row.platform == platform]
    return Watched(platform, success.share_of(own), success.by_reason(own))


def _judge(uow: UnitOfWork, watched: Watched, settings: Settings, *, is_on: bool, now: datetime) -> bool:
    """Has it begun to be low?"""
    is_low = watched.is_low(settings, is_on=is_on)
    if is_on and not is_low:
        _end(uow, watched, settings, now)
    return is_low and not is_on and _begin(uow, watched, settings, now)


def _begin(uow: UnitOfWork, watched: Watched, settings: Settings, now: datetime) -> bool:
    facts = watched.facts(settings)
    is_new = uow.execute(
        "INSERT INTO token_low (platform, since, facts) VALUES (:platform, :now, CAST(:facts AS jsonb))"
        " ON CONFLICT (platform) DO NOTHING",
        platform=watched.platform,
        now=now,
        facts=json.dumps(facts),
    ).rowcount
    if is_new:
        _tell(uow, LOW, watched, facts)
    return bool(is_new)


def _end(uow: UnitOfWork, watched: Watched, settings: Settings, now: datetime) -> None:
    since: datetime | None = uow.execute(
        "DELETE FROM token_low WHERE platform = :platform RETURNING since", platform=watched.platform
    ).scalar()
    if since is not None:
        facts = watched.facts(settings) | {"seconds": round((now - since).total_seconds())}
        _tell(uow, BACK, watched, facts)


def _tell(uow: UnitOfWork, kind: str, watched: Watched, facts: dict[str, Any]) -> None:
    labels = {"platform": watched.platform}
    signals.record(uow, kind, f"platform:{watched.platform}", labels=labels, facts=facts)

"""How fast an app's tokens may be refreshed: one counter of the limiter for all of its accounts and workers."""

from __future__ import annotations

import math
from datetime import datetime
from functools import lru_cache

from app.catalog import App, RateLimit
from app.limits import deciding
from app.limits.core import Ask, Counting, Use, Verdict
from app.limits.plans import Plan

COUNTER = "token_refreshes"
AT_ONCE = 2000
"""Tokens of one app that one statement hands out."""


def turn(app: App) -> datetime | None:
    """None: it may go now, and is counted. Else when there may be room. Raises Transient without the limiter."""
    if not app.refreshes_per_minute:
        return None
    ask = Ask(_plan(app.refreshes_per_minute), "", (f"app:{app.name}",), scope="", counting=Counting.RELEASE)
    decision = deciding.decide(ask)
    return None if decision.verdict is Verdict.ALLOW else decision.room_at or decision.at


def share_of(app: App | None, seconds: float) -> int:
    """How many tokens of an app are worth handing out for so many seconds, with a tenth more; at most AT_ONCE."""
    if app is None or not app.refreshes_per_minute:
        return AT_ONCE
    return min(AT_ONCE, math.ceil(app.refreshes_per_minute * seconds / 60 * 1.1) + 1)


@lru_cache(maxsize=64)
def _plan(a_minute: int) -> Plan:
    limit = RateLimit(name=COUNTER, per="all", capacity=a_minute, window="rolling", period="minute")
    return Plan("token-refresh", 0, (Use(limit, 0, 1, a_minute, tells=False),), kept=False)

"""Questions to the limiter without a catalogue."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from app.catalog import RateLimit
from app.infra import redis
from app.limits import keys
from app.limits.core import Ask, Use
from app.limits.plans import Plan

ALICE = "account:instagram/alice"
TENANT = "tenant:acme"
_ids = count(1)


def limit(name: str = "calls", capacity: float = 5, window: str = "calendar", **more: Any) -> RateLimit:
    """A limit of a day, unless `period` says otherwise."""
    return RateLimit.model_validate({"name": name, "capacity": capacity, "window": window, "period": "day", **more})


def money(name: str = "spend", capacity: float = 1, **more: Any) -> RateLimit:
    """A limit in dollars."""
    return limit(name, capacity, currency="usd", **more)


def plan(*limits: RateLimit, cost: int = 1, rank: int = 1, operation: str = "reply", **more: Any) -> Plan:
    """So much of each limit of the first subject; of those in dollars the estimate, of the last one."""
    uses = [
        Use(one, 1 if one.per == "tenant" else 0, None if one.currency == "usd" else cost, one.ceiling(rank))
        for one in limits
    ]
    return Plan(operation, rank, uses, ("all", f"operation:{operation}"), **more)


def ask(planned: Plan, subject: str = ALICE, key: str = "", **more: Any) -> Ask:
    """Under an id of its own, unless one is given."""
    subjects = (subject, TENANT) if any(use.place for use in planned.uses) else (subject,)
    return Ask(planned, key or f"{subject} {next(_ids)}", more.pop("subjects", subjects), **more)


def state(subject: str = ALICE) -> dict[str, Any]:
    """What is kept of a subject."""
    key = (keys.STATE + subject).encode("utf-8", "surrogatepass")
    raw = redis.client().execute_command("GET", key, NEVER_DECODE=True)
    return {} if raw is None else dict(json.loads(raw.decode("utf-8", "surrogatepass")))


def events() -> list[dict[str, Any]]:
    """Crossings that were told, oldest first."""
    return [json.loads(text) for text in redis.client().lrange(keys.CROSSINGS, 0, -1)]

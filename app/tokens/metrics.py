"""What a scrape reads of tokens: where they stand, when the first one ends, and which apps wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client.core import Metric

from app import clock
from app.infra import db
from app.infra.metrics.families import gauge
from app.tokens import apps_state, listing
from app.tokens.levels import LEVELS, WITHOUT

STATEMENT_SECONDS = 1.5
"""A scrape gives up on a slow database before Prometheus gives up on the scrape."""

_A_DAY = 86_400


def tokens() -> Iterator[Metric]:
    """Of every platform with accounts. Raises Transient without Postgres."""
    now = clock.now()
    with db.read_within(STATEMENT_SECONDS) as session:
        counted = listing.counts(session, by="platform", now=now)
        apps = apps_state.read_all(session)
    accounts: dict[tuple[str, ...], float] = {(one.name, level): 0.0 for one in counted for level in LEVELS}
    days: defaultdict[str, list[float]] = defaultdict(list)
    for one in counted:
        accounts[one.name, one.level] = float(one.accounts)
        if one.level not in WITHOUT and one.expires_at is not None:
            days[one.name].append((one.expires_at - now).total_seconds() / _A_DAY)
    yield gauge("smm_tokens", "Accounts by where their tokens stand.", ("platform", "level"), accounts.items())
    yield gauge(
        "smm_token_min_days_remaining",
        "Days until the first token of an account that is in use ends; below zero: it has ended.",
        ("platform",),
        [((name,), round(min(left), 3)) for name, left in days.items()],
    )
    yield gauge(
        "smm_token_apps_held",
        "1 while nothing is refreshed through an app, because its platform refuses it, limits it or does not answer.",
        ("app",),
        [((name,), float(state.block(now) is not None)) for name, state in apps.items() if ":" not in name],
    )

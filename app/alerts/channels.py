"""The channels as operators see them: what they are, without secrets, and when each last delivered or failed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.catalog import Catalog, Channel
from app.errors import Conflict, Misconfigured, NotFound
from app.notify import Delivery, Outcome, kinds, outcome_word, resolve, send, test_message
from app.notify.channel import ChannelModule

LOOKED_BACK = timedelta(days=7)

_LAST = """
SELECT channel, max(finished_at) FILTER (WHERE state = 'delivered') AS delivered_at,
       max(finished_at) FILTER (WHERE state = 'failed') AS failed_at,
       (array_agg(error ORDER BY finished_at DESC) FILTER (WHERE state = 'failed'))[1] AS error,
       count(*) FILTER (WHERE state = 'delivered') AS delivered, count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state IN ('waiting', 'sending')) AS open
FROM notifications WHERE created_at >= :since GROUP BY channel
"""


def overview(session: Session, catalog: Catalog, now: datetime) -> list[dict[str, Any]]:
    """Every channel of the catalogue with what its last seven days were like, JSON-ready."""
    rows = session.execute(text(_LAST), {"since": now - LOOKED_BACK})
    last = {row.channel: row for row in rows}
    return [_shown(channel, last.get(name)) for name, channel in sorted(catalog.telling.channels.items())]


def try_out(catalog: Catalog, name: str, *, external_url: str, now: datetime, to: str | None = None) -> Outcome:
    """Send a test message now, within the channel's time-out. Raises NotFound, and Conflict for one switched off."""
    channel = catalog.telling.channels.get(name)
    if channel is None:
        raise NotFound(f"the catalogue has no channel {name}")
    if not channel.enabled:
        raise Conflict(f"channel {name} is switched off in the catalogue")
    return send(resolve(channel), Delivery(message=test_message(name, external_url, now), to=to))


def needs_address(catalog: Catalog, name: str) -> bool:
    """Has this channel no address of its own? Then one has to be given with each message."""
    try:
        resolve(catalog.telling.channels[name]).destination()
    except Misconfigured:
        return True
    return False


def outcome_shown(name: str, outcome: Outcome) -> dict[str, Any]:
    """What became of a try, JSON-ready."""
    return {
        "channel": name,
        "outcome": outcome_word(outcome),
        "delivered": outcome.delivered,
        "http_status": outcome.http_status,
        "latency_ms": outcome.latency_ms,
        "retry_after_seconds": outcome.retry_after.total_seconds() if outcome.retry_after else None,
        "error": outcome.error,
    }


def _shown(channel: Channel, last: Any | None) -> dict[str, Any]:
    module: ChannelModule | None = kinds().get(channel.kind)
    return {
        "name": channel.name,
        "kind": channel.kind,
        "summary": module.SUMMARY if module is not None else None,
        "description": channel.description or None,
        "enabled": channel.enabled,
        "fallback": list(channel.fallback),
        "takes_to": module.TAKES_TO if module is not None else None,
        "send_resolved": channel.send_resolved,
        "timeout_seconds": channel.timeout,
        "last_delivered_at": clock.iso(last.delivered_at) if last is not None and last.delivered_at else None,
        "last_failed_at": clock.iso(last.failed_at) if last is not None and last.failed_at else None,
        "last_error": last.error if last is not None else None,
        "delivered": last.delivered if last is not None else 0,
        "failed": last.failed if last is not None else 0,
        "open": last.open if last is not None else 0,
    }

"""What a scrape reads of costs: how far the drain is behind, and how many calls are set aside."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from sqlalchemy import text

from app.costs import lag
from app.infra import db
from app.infra.metrics.families import gauge
from app.limits import spending

STATEMENT_SECONDS = 1.5
"""A scrape gives up on a slow database before Prometheus gives up on the scrape."""

MOST_COUNTED = 100_000

_OPEN = f"SELECT count(*) FROM (SELECT 1 FROM cost_set_aside WHERE replayed_at IS NULL LIMIT {MOST_COUNTED}) AS open"


def waiting() -> Iterator[Metric]:
    """What is in the stream. Raises Transient without Redis."""
    found = spending.backlog()
    for name, told, amount in (
        ("smm_cost_ingest_lag_seconds", "How long the oldest call waits to be written down.", lag.seconds_of(found)),
        ("smm_cost_stream_entries", "Batches of calls that wait to be written down.", found.entries),
        ("smm_cost_stream_bytes", "Their size; at SMM_COST_STREAM_MB calls are answered 503.", found.bytes),
    ):
        yield gauge(name, told, (), [((), float(amount))])


def set_aside() -> Iterator[Metric]:
    """Calls that wait for somebody. Raises Transient without Postgres."""
    with db.read_within(STATEMENT_SECONDS) as session:
        count = session.execute(text(_OPEN)).scalar_one()
    told = f"Calls set aside that nobody has replayed or dropped; {MOST_COUNTED} are that many or more."
    yield gauge("smm_cost_set_aside_open", told, (), [((), float(count))])

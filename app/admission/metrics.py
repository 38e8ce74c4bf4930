"""What a scrape reads of the modes, and of operations that wait."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from app import catalog
from app.admission import deferred_reading, reading
from app.errors import Invalid
from app.infra import db
from app.infra.metrics.families import gauge

STATEMENT_SECONDS = 1.5
"""A scrape gives up on a slow database before Prometheus gives up on the scrape."""


def modes() -> Iterator[Metric]:
    """Every mode of the catalogue, and those that are on without being in it. Raises Transient without Postgres."""
    with db.read_within(STATEMENT_SECONDS) as session:
        on = {hold.name for hold in reading.read(session).holds}
    yield gauge(
        "smm_modes",
        "1 while the mode is on, so that its operations fall back or wait.",
        ("mode",),
        [((name,), float(name in on)) for name in on | _named()],
    )


def deferred() -> Iterator[Metric]:
    """How many operations wait, and for how long the oldest does, by class. Raises Transient without Postgres."""
    with db.read_within(STATEMENT_SECONDS) as session:
        waiting = deferred_reading.by_class(session)
    yield gauge(
        "smm_deferred_operations",
        "Operations that wait until they may go on.",
        ("class",),
        [((name,), float(held.count)) for name, held in waiting.items()],
    )
    yield gauge(
        "smm_deferred_oldest_seconds",
        "Age of the operation that has waited for longest.",
        ("class",),
        [((name,), held.oldest_seconds) for name, held in waiting.items()],
    )


def _named() -> set[str]:
    try:
        return set(catalog.current().modes)
    except Invalid:  # neither the file nor its last good copy can be used
        return set()

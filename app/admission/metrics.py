"""What a scrape reads of the modes."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from app import catalog
from app.admission import reading
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


def _named() -> set[str]:
    try:
        return set(catalog.current().modes)
    except Invalid:  # neither the file nor its last good copy can be used
        return set()

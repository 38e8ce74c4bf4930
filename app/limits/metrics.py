"""What a scrape reads of the limits: how full they are, and whether what keeps them alive keeps up."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from sqlalchemy import text

from app import clock
from app.infra import db, redis
from app.infra.metrics.families import gauge
from app.limits import keys
from app.limits.reading import IS_LIVE, WANTED, wanted
from app.limits.snapshots import limits_now

STATEMENT_SECONDS = 1.5
"""A scrape gives up on a slow database before Prometheus gives up on the scrape."""

_FIGURES = f"""
    SELECT wanted.name, (SELECT w.share FROM limit_windows w WHERE w.limit_name = wanted.name AND {IS_LIVE}
                          ORDER BY w.share DESC LIMIT 1) AS worst,
           (SELECT count(*) FROM limit_windows w
             WHERE w.limit_name = wanted.name AND w.share >= 1 AND {IS_LIVE}) AS full
      FROM {WANTED}"""


def windows() -> Iterator[Metric]:
    """How full limits are, as of the last snapshot. Raises Transient without Postgres."""
    with db.read_within(STATEMENT_SECONDS) as session:
        rows = list(session.execute(text(_FIGURES), wanted(limits_now(), clock.now())))
    yield gauge(
        "smm_limit_used_ratio",
        "Used of the limit's capacity by whoever has used the largest share of it, as of the last snapshot.",
        ("limit",),
        [((row.name,), row.worst or 0.0) for row in rows],
    )
    yield gauge(
        "smm_limit_full_subjects",
        "Accounts (or tenants) that have used all of the limit.",
        ("limit",),
        [((row.name,), float(row.full)) for row in rows],
    )


def upkeep() -> Iterator[Metric]:
    """What waits to be written down, told or given back. Raises Transient without Redis."""
    with redis.transient_errors():
        pipe = redis.client().pipeline(transaction=False)
        pipe.time()
        pipe.mget(keys.EPOCH, keys.SNAPSHOT_AT)
        pipe.scard(keys.CHANGED)
        pipe.scard(keys.TAKING)
        pipe.llen(keys.CROSSINGS)
        pipe.zcard(keys.LEASES)
        (seconds, micros), (epoch, taken), changed, taking, untold, leases = pipe.execute()
    age = None if taken is None else seconds + micros / 1e6 - int(taken) / 1000
    whole = float(epoch is not None and epoch.startswith("whole:"))
    for name, told, amount in (
        ("smm_limit_counters_whole", "1 unless Redis lost its counters and they are not all back yet.", whole),
        ("smm_limit_snapshot_age_seconds", "Time since the last snapshot that wrote down all that changed.", age),
        ("smm_limit_changed_subjects", "Accounts (or tenants) that changed since.", float(changed + taking)),
        ("smm_limit_crossings_untold", "Crossings of thresholds that are not signals yet.", float(untold)),
        ("smm_limit_leases", "Reservations of money that are not settled yet.", float(leases)),
    ):
        yield gauge(name, told, (), [((), amount)])

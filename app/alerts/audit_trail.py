"""Changes of who is told what leave a trace: a signal on the timeline names the tables that changed."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from functools import lru_cache
from typing import Any

from app import signals
from app.alerts import raising
from app.catalog import Catalog
from app.infra.db import UnitOfWork

_TABLES = ("channels", "people", "teams", "rotations", "receivers", "routing", "ladders", "inhibitions", "mutes")


def follow_catalog(uow: UnitOfWork, catalog: Catalog, now: datetime) -> None:
    """When the catalogue is another one than at the last pass: end what its rules no longer raise, and record
    `alerts.routing_changed` where it tells people otherwise."""
    present = _digests(_Said(catalog))
    total = _digest({**present, "rules": sorted(catalog.telling.alerts)})
    known = uow.execute("SELECT routing_digest, routing FROM alert_clock WHERE id = 1").one()
    if known.routing_digest == total:
        return
    uow.execute(
        "UPDATE alert_clock SET routing_digest = :digest, routing = CAST(:routing AS jsonb) WHERE id = 1",
        digest=total,
        routing=json.dumps(present),
    )
    raising.end_forgotten(uow, catalog.telling, now)
    if known.routing_digest is None:
        return
    before = known.routing or {}
    changed = sorted(key for key in {*before, *present} if before.get(key) != present.get(key))
    if not changed:
        return
    signals.record(
        uow, "alerts.routing_changed", "alerting", facts={"changed": changed[:200], "catalogue": catalog.digest}
    )


class _Said:
    """A catalogue that equals every other of the same digest."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __hash__(self) -> int:
        return hash(self.catalog.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Said) and other.catalog.digest == self.catalog.digest


@lru_cache(maxsize=2)
def _digests(said: _Said) -> dict[str, str]:
    """A digest of each entry: `receivers.ops`, `routing`, `mutes`. Secrets are not in it, only what they change."""
    found: dict[str, str] = {}
    for table in _TABLES:
        value: Any = getattr(said.catalog.telling, table)
        if isinstance(value, dict):
            found |= {f"{table}.{name}": _digest(item.model_dump(mode="json")) for name, item in value.items()}
        elif isinstance(value, tuple):
            found[table] = _digest([item.model_dump(mode="json") for item in value])
        else:
            found[table] = _digest(value.model_dump(mode="json"))
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]

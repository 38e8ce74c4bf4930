"""What the timetable and the API ask of health: keep the services in step with the catalogue, say what is due."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app import catalog, clock, signals
from app.catalog import Catalog
from app.errors import NotFound
from app.health import store
from app.health.core import State
from app.health.specs import resolve_all
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger

CLAIM_LIMIT = 5000
BATCH = 50
CLAIM_AHEAD_SECONDS = 2.5
"""Half of the tick's five seconds."""
SYNC_AGAIN_SECONDS = 60.0
"""A database that was restored or replaced under us has services of another catalogue, or none."""

log = get_logger(__name__)

_synced: tuple[str, object] | None = None
_synced_until = 0.0


def sync_catalog(uow: UnitOfWork, current: Catalog) -> list[str]:
    """Bring `services` in step with the catalogue; the names that are new, changed or gone.

    What disappeared keeps its history and loses its state; its open incident ends as removed.
    """
    specs = resolve_all(current)
    changed = store.upsert(uow, [spec.row() for spec in specs.values()])
    gone = store.lock_disappeared(uow, list(specs))
    for row in gone:
        if row.open_incident_id is not None:
            store.close_incident(uow, row.open_incident_id, at=clock.now(), outcome="removed")
        if row.announced in (State.DOWN, State.DEGRADED) or row.warning or row.flapping:
            facts = {"before": row.announced, "incident_id": row.open_incident_id}
            signals.record(uow, "health.removed", row.name, labels={"service": row.name, "kind": row.kind}, facts=facts)
    if gone:
        store.mark_absent(uow, [row.name for row in gone])
    return sorted([*changed, *(row.name for row in gone)])


def sync_current_catalog(uow: UnitOfWork) -> None:
    """The same for this process's catalogue: when it is another one than last time, and once a minute in any case."""
    current = catalog.current()
    key = (current.digest, uow.session.get_bind())
    if key == _synced and clock.monotonic() < _synced_until:
        return
    changed = sync_catalog(uow, current)
    if changed:
        log.info("services follow the catalogue", changed=changed[:20], count=len(changed))

    def remember() -> None:
        global _synced, _synced_until
        _synced, _synced_until = key, clock.monotonic() + SYNC_AGAIN_SECONDS

    uow.after_commit(remember)


def claim_due(uow: UnitOfWork, limit: int = CLAIM_LIMIT, batch: int = BATCH) -> list[list[str]]:
    """Due checks of the engine's services, taken in one query and cut into batches of one task each."""
    names = sorted(store.claim_due(uow, limit, CLAIM_AHEAD_SECONDS))
    return [names[start : start + batch] for start in range(0, len(names), batch)]


def give_back(uow: UnitOfWork, names: Sequence[str]) -> None:
    """Claimed checks that could not be sent are due again at once, not an interval later."""
    store.make_due(uow, names)


def deep_cycle(uow: UnitOfWork) -> int:
    """The full cycle: make every service due, whatever its interval; how many there are."""
    return store.make_all_due(uow)


def on_flip(uow: UnitOfWork, signal_id: UUID, *, handler: str) -> list[str]:
    """A service changed: what depends on it is probed at once rather than at its next turn; the names."""
    signal = signals.load(uow.session, signal_id)
    if not signals.is_news(uow, handler, signal):
        return []
    return store.make_dependents_due(uow, signal.subject)


def beat(uow: UnitOfWork, name: str) -> None:
    """A service of kind heartbeat called. Raises NotFound when the catalogue has no such one."""
    if not store.beat(uow, name):
        raise NotFound(f"the catalogue has no heartbeat service {name}")

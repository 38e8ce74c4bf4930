"""The world as a run of the watchdog finds it: from memory, the journal, and the copy of the engine's figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.catalog import Catalog, Playbook, behind, in_maintenance
from app.health.core import State
from app.recovery import looking
from app.recovery.core import Effect, Look, Run
from app.recovery.playbooks import SIGNAL, Standing, is_dry
from app.recovery.store import WINDOW
from app.watchdog.copied import Copied, Restart

LOST_AFTER = timedelta(minutes=10)
"""How long after its last move an open run that this journal does not know is taken to be at work elsewhere."""


@dataclass(frozen=True, slots=True)
class World:
    """What decisions of one moment are made from. `standings`: by service; `runs`: the journal's."""

    catalog: Catalog
    standings: Mapping[str, Standing]
    runs: Sequence[Run]
    copied: Copied
    stopped: str | None
    now: datetime

    @property
    def restarts(self) -> tuple[Restart, ...]:
        """Of the last hour: ours, and what the tables know of others."""
        since = self.now - WINDOW
        mine = {run.id for run in self.runs}
        others = (restart for restart in self.copied.restarts if restart.run not in mine)
        return tuple(item for item in (*restarts_of(self.runs), *others) if item.at > since)


def restarts_of(runs: Sequence[Run]) -> list[Restart]:
    """Restarts that these runs have begun, whatever came of them."""
    return [
        Restart(run.id, run.service, step.began_at)
        for run in runs
        for step in run.steps
        if step.effect is Effect.RESTART and step.began_at is not None and step.tries
    ]


def is_held(service: str, world: World) -> bool:
    """Does nothing begin for this service now? Stopped, in maintenance, or what it depends on is down."""
    return (
        world.stopped is not None
        or in_maintenance(world.catalog.services[service], world.now) is not None
        or fallen(service, world) is not None
    )


def fallen(service: str, world: World) -> str | None:
    """The nearest of what it depends on that is down, of those that the watchdog watches."""
    depends_on = {name: other.depends_on for name, other in world.catalog.services.items()}
    return next((name for name in behind(service, depends_on) if _is_down(world.standings.get(name))), None)


def _is_down(standing: Standing | None) -> bool:
    return standing is not None and standing.state is State.DOWN


def stands(world: World, playbook: Playbook, service: str) -> bool:
    """Is there a run of this playbook for this service whose trouble is not over yet, or which is still running?

    Another watchdog's counts, too, while the tables can tell. That one was dry matters only if the next would be.
    """
    dry = is_dry(playbook, world.catalog)
    asked = world.copied.asked if world.copied.is_fresh(world.now) else ()
    return any(
        run.ended_at is None or (run.over_at is None and run.started_by == SIGNAL and (dry or not run.dry_run))
        for run in (*world.runs, *(run for run in asked if run.id not in {mine.id for mine in world.runs}))
        if (run.playbook, run.service) == (playbook.name, service)
    )


def is_anothers(run: Run, now: datetime) -> bool:
    """Is an open run that this journal does not know at work elsewhere? People's are not until somebody takes them up,
    and one that nobody moves was lost.
    """
    if run.started_by != SIGNAL and not any(step.tries for step in run.steps):
        return False
    moments = [run.created_at, run.due_at, *(time for step in run.steps for time in (step.began_at, step.ended_at))]
    return now - max(moment for moment in moments if moment is not None) < LOST_AFTER


def look(run: Run, world: World) -> Look:
    """Everything that a decision about this run asks for."""
    service, found = world.catalog.services.get(run.service), world.standings.get(run.service)
    if service is None or not service.enabled or found is None:
        return Look(gone=f"the watchdog does not watch {run.service} any more")
    playbook = world.catalog.playbooks.get(run.playbook)
    restarts = world.restarts
    busy, others = _others(run, world)
    return Look(
        limits=looking.limits_of(world.catalog, playbook),
        over=looking.over_of(run, playbook, found, world.catalog),
        stopped=world.stopped,
        maintenance=in_maintenance(service, world.now),
        cause=fallen(run.service, world),
        busy=busy,
        others=others,
        forbidden=looking.forbidden(world.catalog, run),
        restarts=sum(item.service == run.service for item in restarts),
        restarts_in_all=len(restarts),
        last_ended_at=_last_ended_at(run, world),
    )


def _others(run: Run, world: World) -> tuple[str | None, tuple[str, ...]]:
    """Who changes something right now: the playbook that is at the same service, the critical services of others."""
    mine = {other.id for other in world.runs}
    at_work = [
        (other.service, other.playbook, other.is_critical)
        for other in world.runs
        if other.id != run.id and other.ended_at is None and other.is_at_work and not other.dry_run
    ]
    engines = (item for item in world.copied.at_work_now(world.now) if item.run not in mine)
    at_work += [(item.service, item.playbook, item.critical) for item in engines]
    busy = next((playbook for service, playbook, _ in sorted(at_work) if service == run.service), None)
    critical = {service for service, _, is_critical in at_work if is_critical and service != run.service}
    return busy, tuple(sorted(critical))


def _last_ended_at(run: Run, world: World) -> datetime | None:
    ended = [
        other.ended_at
        for other in world.runs
        if other.id != run.id and other.ended_at is not None and not other.dry_run
        and (other.playbook, other.service) == (run.playbook, run.service)
    ]  # fmt: skip
    return max(ended, default=None)

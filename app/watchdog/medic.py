"""Repairs what the watchdog watches, by the same playbooks and guards as the engine, which could take no job then.

One thread decides, about one run after the other, so that budgets are exact; each step is taken in a thread of its own,
and the watch waits for neither. A step is in the journal before it begins and after it has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

from app import catalog as catalogs
from app import clock
from app.catalog import Catalog, Service
from app.errors import SmmError
from app.health.core import State
from app.health.specs import resolve
from app.infra import ids
from app.infra.logging import get_logger
from app.recovery import control, looking, playbooks, running, told
from app.recovery.acting import Seen
from app.recovery.core import Effect, Failed, Result, Run, StepState, Verdict
from app.recovery.deciding import decide_all
from app.recovery.running import Turn
from app.recovery.taking import begun, ended
from app.watchdog import guards
from app.watchdog.copied import Copied
from app.watchdog.falls import Failure, failure_key
from app.watchdog.guards import World
from app.watchdog.journal import Journal
from app.watchdog.sights import Sights

IDLE_SECONDS = 5.0
SOON_SECONDS = 1.0
"""When what could not be taken further, although it is due, is looked at again."""
MOST_AT_ONCE = 8
"""Steps that are under way at the same time."""
LEASE_SECONDS = 30.0
"""How long after its start a process leaves alone what the one before had begun: the other side may still be at it."""
GIVEN_UP_SECONDS = 3 * running.ACT_SECONDS
"""A step that has not come back by then hangs where no time-out reaches."""
PROBE_SLACK_SECONDS = 10.0

log = get_logger(__name__)


class Pages(Protocol):
    """Who tells people. Each is called again and again, and returns at once."""

    def fallen(self, trouble: Failure) -> None: ...

    def mended(self, key: str) -> None: ...

    def acted(self, service: str) -> None: ...


class Medic:
    """Decides by what the watch has seen; `changed` is called when the tables should know of a move."""

    def __init__(
        self,
        sights: Sights,
        journal: Journal,
        copied: Callable[[], Copied],
        *,
        stop_file: Path,
        changed: Callable[[], None],
        pages: Pages | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._sights = sights
        self._journal = journal
        self._copied = copied
        self._stop_file = stop_file
        self._changed = changed
        self._pages = pages
        self._takes_up_at = clock.monotonic() + lease_seconds
        self._id = ids.uuid7()
        self._lock = threading.Lock()
        self._acting: dict[UUID, tuple[Turn, float]] = {}
        self._finished: list[tuple[Turn, Result]] = []
        self._told: str | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin, with what a process before this one left."""
        threading.Thread(target=self._run, name="medic", daemon=True).start()

    def stop(self) -> None:
        """Begin nothing any more; a signal handler may call it. A step under way is found by the next process."""
        self._stopping = True

    def _run(self) -> None:
        while not self._stopping:
            self._sights.wait(self._guarded())

    def _guarded(self) -> float:
        try:
            wait = self.turn()
        except SmmError as error:
            self._say("no repair can be decided about", str(error))
            return IDLE_SECONDS
        except Exception:
            log.exception("repairs could not be decided about")
            return IDLE_SECONDS
        self._told = None
        return wait

    def turn(self) -> float:
        """Decide everything that can be decided now; seconds until there may be more."""
        if not self._journal.take_over():
            self._say("nothing is repaired here", "another watchdog of this installation does it")
            return IDLE_SECONDS
        catalog = catalogs.current()
        self._settle()
        self._take_up()
        self._close_over(catalog)
        self._begin(catalog)
        for run in self._journal.runs():
            self._advance(run.id, catalog)
        return self._pause()

    def _world(self, catalog: Catalog) -> World:
        stop, copied = control.kept(self._stop_file), self._copied()
        stopped = stop or copied.stopped
        standings = {name: sight.standing for name, sight in self._sights.all().items()}
        return World(catalog, standings, self._journal.runs(), copied, str(stopped) if stopped else None, clock.now())

    def _settle(self) -> None:
        """What steps came to that were under way."""
        with self._lock:
            finished, self._finished = self._finished, []
        for turn, result in finished:
            if self._acting.get(turn.run.id, (None,))[0] is turn:
                self._settle_one(turn, result)
        for turn, since in list(self._acting.values()):
            if clock.monotonic() - since > GIVEN_UP_SECONDS:
                self._settle_one(turn, Failed(f"it did not come back within {GIVEN_UP_SECONDS:g} s"))

    def _settle_one(self, turn: Turn, result: Result) -> None:
        del self._acting[turn.run.id]
        run = self._journal.run(turn.run.id)
        if run is None:
            return
        run = ended(run, turn.step.place, result, clock.now())
        self._keep(run)
        step = run.steps[turn.step.place]
        log.info("a step was taken", run=str(run.id), service=run.service, action=step.action, state=step.state)
        if step.effect is not Effect.NONE and step.state is StepState.DONE and self._pages is not None:
            self._pages.acted(run.service)

    def _take_up(self) -> None:
        """Runs that people have begun or nobody takes further, and runs that people want to end."""
        copied, now = self._copied(), clock.now()
        for asked in copied.asked:
            if self._journal.run(asked.id) is not None or guards.is_anothers(asked, now):
                continue
            if not self._is_open(asked.playbook, asked.service):
                log.info("a run is taken up", run=str(asked.id), playbook=asked.playbook, service=asked.service)
                self._journal.keep(asked)
        for run_id, by in copied.aborts.items():
            run = self._journal.run(run_id)
            if run is not None and run.ended_at is None and run.abort_by is None:
                self._keep(replace(run, abort_by=by))

    def _is_open(self, playbook: str, service: str) -> bool:
        return any(
            run.ended_at is None and (run.playbook, run.service) == (playbook, service) for run in self._journal.runs()
        )

    def _close_over(self, catalog: Catalog) -> None:
        """Troubles that are over: from now on the next one is another. People are told of those that are not."""
        for run in self._journal.runs():
            if run.ended_at is None or run.over_at is not None:
                continue
            if self._is_over(run, catalog):
                self._keep(replace(run, over_at=clock.now()))
                if self._pages is not None:
                    self._pages.mended(failure_key(run))
            else:
                self._tell_failed(run, catalog)

    def _is_over(self, run: Run, catalog: Catalog) -> bool:
        playbook, service = catalog.playbooks.get(run.playbook), catalog.services.get(run.service)
        if playbook is None or service is None or not _is_ours(service):
            return True
        sight = self._sights.all().get(run.service)
        if sight is None or sight.standing.announced is State.DOWN:  # one that flaps is as bad as people were told
            return False
        return playbooks.is_over(playbook, sight.standing, service) is not False

    def _begin(self, catalog: Catalog) -> None:
        for sight in self._sights.all().values():
            if sight.ok is None:
                continue
            standing = sight.standing
            wanted = playbooks.matching(catalog, standing)
            world = self._world(catalog) if wanted else None
            if world is None or guards.is_held(standing.service, world):
                continue
            for playbook in wanted:
                if not guards.stands(world, playbook, standing.service):
                    run = playbooks.plan(playbook, standing, catalog, clock.now())
                    log.warning("a run begins", playbook=run.playbook, service=run.service, run=str(run.id))
                    self._keep(run)

    def _advance(self, run_id: UUID, catalog: Catalog) -> None:
        """Take a run further: a wait, a verdict, or a step that begins."""
        run = before = self._journal.run(run_id)
        if run is None or before is None or run.ended_at is not None or run.id in self._acting:
            return
        world = self._world(catalog)
        if not self._is_due(run, world):
            return
        decision = decide_all(run, lambda at: guards.look(at, world), world.now)
        run, place = decision.run, decision.act
        if run.ended_at is not None:
            self._end(run, catalog)
        elif place is not None:
            self._act(run, place, catalog)
        elif run != before:
            self._keep(run)

    def _is_due(self, run: Run, world: World) -> bool:
        """Is it to be decided about? Not before its service was seen, when this process has just begun."""
        service, found = world.catalog.services.get(run.service), world.standings.get(run.service)
        if service is None or (found is None and not _is_ours(service)):
            return True
        if found is None or self._stopping or len(self._acting) >= MOST_AT_ONCE:
            return False
        if looking.over_of(run, world.catalog.playbooks.get(run.playbook), found, world.catalog) is True:
            return True
        if run.due_at is None:
            return clock.monotonic() >= self._takes_up_at
        return run.due_at <= world.now or run.abort_by is not None

    def _act(self, run: Run, place: int, catalog: Catalog) -> None:
        """Write down that a try begins, and begin it. One that was begun and never ended was another process's."""
        step = run.steps[place]
        interrupted_at = step.began_at if step.state is StepState.RUNNING and step.job_id is not None else None
        run = begun(run, place, clock.now(), job_id=self._id)
        self._keep(run)
        turn = Turn(run, run.steps[place], interrupted_at)
        self._acting[run.id] = (turn, clock.monotonic())
        threading.Thread(target=self._take, args=(turn, catalog), name=f"repair-{run.service}", daemon=True).start()

    def _take(self, turn: Turn, catalog: Catalog) -> None:
        """A thread's life: one step."""
        try:
            result = running.act(turn, catalog, job_id=self._id, look=lambda: self._probe(turn.run, catalog))
        except Exception as error:
            log.exception("a step could not be taken", run=str(turn.run.id), action=turn.step.action)
            result = Failed(f"it could not be taken: {type(error).__name__}")
        with self._lock:
            self._finished.append((turn, result))
        self._sights.wake()

    def _probe(self, run: Run, catalog: Catalog) -> Seen:
        """Have the watch probe the service now, and wait for what it sees, but not for long."""
        service = catalog.services[run.service]
        longest = 2 * resolve(service).timeout_seconds + PROBE_SLACK_SECONDS
        sight, is_fresh = self._sights.fresh(run.service, min(longest, running.ACT_SECONDS))
        confirm = service.confirm_interval
        if sight is None:
            return Seen(None, "the watchdog does not watch it any more", State.UNKNOWN, None, confirm)
        standing, playbook = sight.standing, catalog.playbooks.get(run.playbook)
        over = None if playbook is None else playbooks.is_over(playbook, standing, service)
        if not is_fresh:
            return Seen(None, "its probe has not answered", standing.state, over, confirm)
        return Seen(sight.ok, sight.text, standing.state, over, confirm, standing.readings)

    def _end(self, run: Run, catalog: Catalog) -> None:
        """Who pages hears of a failure first: what is stored after it must find people told."""
        self._tell_failed(run, catalog)
        self._keep(run)
        log.warning("a run ended", run=str(run.id), playbook=run.playbook, service=run.service, verdict=run.verdict)

    def _tell_failed(self, run: Run, catalog: Catalog) -> None:
        service = catalog.services.get(run.service)
        if self._pages is None or service is None or run.verdict is not Verdict.ESCALATED or run.dry_run:
            return
        if told.conclusion(run).labels["severity"] == "critical":
            self._pages.fallen(Failure(resolve(service), run))

    def _keep(self, run: Run) -> None:
        self._journal.keep(run)
        self._changed()

    def _pause(self) -> float:
        now = clock.now()
        waits = [
            (run.due_at - now).total_seconds() if run.due_at is not None and run.due_at > now else SOON_SECONDS
            for run in self._journal.runs()
            if run.ended_at is None and run.id not in self._acting
        ]
        return max(0.05, min([IDLE_SECONDS, *waits]))

    def _say(self, what: str, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning(what, why=why)


def _is_ours(service: Service) -> bool:
    return service.enabled and resolve(service).watched_by == "watchdog"

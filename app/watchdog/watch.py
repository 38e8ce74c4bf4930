"""The watch itself: probe what is due, decide in memory, write it down, hand it on. Every wait here is short.

A failure that a fallen cause explains is not a fact about the service: nothing is recorded of it, as of workers while
Redis is away. Before a service with causes is called down, each of them is asked.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from app import catalog, clock
from app.catalog import behind
from app.errors import SmmError
from app.health import statefile
from app.health.checking import target_of
from app.health.core import Decision, Flip, ServiceState, State, decide, without_future
from app.health.prober import Prober, Verdict
from app.health.probing import CannotTell
from app.health.results import ProbeResult
from app.health.specs import Spec, resolve_all
from app.infra.heartbeat import Heartbeat
from app.infra.logging import get_logger
from app.watchdog.falls import Fall
from app.watchdog.sights import Sight, sight_of
from app.watchdog.spool import Spool

CONFIRM_TIMEOUT_SECONDS = 2.0
CANNOT_TELL_AGAIN_SECONDS = 2.0
WRITE_EVERY_SECONDS = 5.0
CAUSES_SECONDS = 15.0
"""The longest that a service's fall waits for answers about its causes."""

log = get_logger(__name__)


class Pages(Protocol):
    """Who is told of falls. Each is called again and again, and returns at once. `waiting`: pages on their way."""

    def fallen(self, fall: Fall) -> None: ...

    def risen(self, name: str) -> None: ...

    def waiting(self) -> int: ...


class Repairs(Protocol):
    """Who repairs by what is seen. Both return at once."""

    def saw(self, sight: Sight) -> None: ...

    def lost(self, name: str) -> None: ...


@dataclass(slots=True)
class _Watch:
    """One service: how it stands, and the monotonic moments of its probes: the next, the last begun, the last answered.

    `doubted`: since when it would be down, were it not for causes that are still asked. `back_at`: its last recovery.
    """

    spec: Spec
    state: ServiceState = field(default_factory=ServiceState)
    last: ProbeResult | None = None
    next_at: float = 0.0
    running: bool = False
    started: float = 0.0
    answered: float = 0.0
    doubted: float | None = None
    back_at: datetime | None = None
    fall: Fall | None = None

    @property
    def explains(self) -> bool:
        """Does it account for what follows from it? Only what people are told of at once may hide anything."""
        return self.spec.service.severity == "critical" and (self.state.state is State.DOWN or self.state.failures > 0)


class Watchdog:
    """Watches the catalogue's services whose `watched_by` is the watchdog. `wake` is called when results wait."""

    def __init__(
        self,
        run_dir: Path,
        spool: Spool,
        wake: Callable[[], None],
        pages: Pages | None = None,
        deadman: Callable[[], statefile.Deadman | None] = lambda: None,
        *,
        repairs: Repairs | None = None,
    ) -> None:
        self._path = statefile.path_in(run_dir)
        self._spool = spool
        self._wake = wake
        self._pages = pages
        self._deadman = deadman
        self._repairs = repairs
        self._asked: SimpleQueue[str] = SimpleQueue()
        self._wanted: set[str] = set()
        self._prober = Prober(16)
        self._heartbeat = Heartbeat("watchdog")
        self._known = self._remembered()
        self._watches: dict[str, _Watch] = {}
        self._catalog_told: str | None = None
        self._disk_told = False
        self._written = 0.0
        self._since = clock.now()
        self._stopping = False

    def run(self) -> None:
        """Watch until `stop` is called; then write the state once more."""
        self._follow_catalog()
        log.info("watching", services=sorted(self._watches))
        while not self._stopping:
            self.step(1.0)
        self._write()

    def stop(self) -> None:
        """End `run` at once; a signal handler may call it."""
        self._stopping = True
        self._prober.interrupt()

    def ask(self, name: str) -> None:
        """Probe this service now, whatever is under way; any thread may call it."""
        self._asked.put(name)
        self._prober.interrupt()

    def step(self, wait_seconds: float) -> None:
        """One turn: start what is due, take what has ended within the wait."""
        self._follow_catalog()
        now = clock.monotonic()
        self._hear(now)
        for watch in self._watches.values():
            if watch.next_at <= now:
                watch.next_at = now + self._start(watch)
        finished = self._prober.collect(wait_seconds)
        for spec, verdict in finished:
            self._take(spec.name, verdict)
        self._tell_fallen()
        if finished or clock.monotonic() - self._written >= WRITE_EVERY_SECONDS:
            self._write()
        self._heartbeat.touch()

    def _hear(self, now: float) -> None:
        """Make due what was asked for; a probe that is under way began too early, and another one follows it."""
        try:
            while True:
                self._wanted.add(self._asked.get_nowait())
        except Empty:
            pass
        for name in [name for name in self._wanted if name not in self._watches or not self._watches[name].running]:
            self._wanted.discard(name)
            if name in self._watches:
                self._watches[name].next_at = now

    def _start(self, watch: _Watch) -> float:
        """Start a probe; seconds to the next one should this one tell nothing."""
        unconfirmed = watch.state.failures > 0
        timeout = watch.spec.timeout_seconds
        target = target_of(
            watch.spec,
            timeout_seconds=min(timeout, CONFIRM_TIMEOUT_SECONDS) if unconfirmed else timeout,
            last=watch.last,
            watched_since=max([self._since, *(cause.back_at for cause in self._causes(watch) if cause.back_at)]),
        )
        if not watch.running:
            watch.running, watch.started = True, clock.monotonic()
        self._prober.start(watch.spec, target)
        return watch.spec.interval_seconds

    def _take(self, name: str, verdict: Verdict) -> None:
        watch = self._watches.get(name)
        if watch is None:
            return
        watch.running, watch.answered = False, watch.started
        if isinstance(verdict, CannotTell) or self._may_have_a_cause(watch, verdict):
            watch.next_at = clock.monotonic() + CANNOT_TELL_AGAIN_SECONDS
            self._show(watch, verdict, counts=False)
            return
        now = clock.now()
        decision = decide(without_future(watch.state, now), verdict, watch.spec.policy, now)
        if decision.ignored or decision.next_check_at is None:
            self._show(watch, verdict, counts=False)
            return
        watch.state, watch.last = decision.state, verdict
        watch.next_at = clock.monotonic() + (decision.next_check_at - now).total_seconds()
        watch.doubted = None
        if decision.flip is not None:
            _tell(name, decision.flip, verdict)
            watch.back_at = now if decision.flip.before is State.DOWN else watch.back_at
        self._note_fall(watch, decision, verdict)
        self._show(watch, verdict, counts=True)
        self._spool.append(name, verdict, eventful=_is_eventful(decision, watch.spec))
        self._wake()

    def _show(self, watch: _Watch, verdict: Verdict, *, counts: bool) -> None:
        """Hand on how a service stands to whoever repairs it."""
        if self._repairs is not None:
            self._repairs.saw(
                sight_of(watch.spec, watch.state, watch.last, verdict, probed=watch.answered, counts=counts)
            )

    def _causes(self, watch: _Watch) -> list[_Watch]:
        known = {name: other.spec.service.depends_on for name, other in self._watches.items()}
        return [self._watches[name] for name in behind(watch.spec.name, known)]

    def _may_have_a_cause(self, watch: _Watch, result: ProbeResult) -> bool:
        """Is this failure explained, or may it yet be? Before a fall the causes are asked, for a bounded time."""
        if result.ok or watch.state.state is State.DOWN:
            return False
        causes = self._causes(watch)
        if any(cause.explains for cause in causes):
            return True
        if watch.state.failures + 1 < watch.spec.policy.failures_to_down:
            return False
        now = clock.monotonic()
        doubted = watch.doubted = watch.doubted or now
        unasked = [cause for cause in causes if cause.answered < doubted]
        for cause in unasked:
            cause.next_at = min(cause.next_at, now)
        return bool(unasked) and now - doubted < CAUSES_SECONDS

    def _note_fall(self, watch: _Watch, decision: Decision, result: ProbeResult) -> None:
        """Remember the fall that people must know of, and tell of a recovery: before the results are stored."""
        state = decision.state
        if state.state is not State.DOWN:
            watch.fall = None
            if self._pages is not None:
                self._pages.risen(watch.spec.name)
        elif state.announced is State.DOWN and watch.fall is None and state.since is not None:
            watch.fall = Fall(watch.spec, result, decision, state.since)
            self._tell_fallen()

    def _tell_fallen(self) -> None:
        """Hand on every fall that stands, each turn anew: what held it back may have ended."""
        for watch in self._watches.values():
            if self._pages is not None and watch.fall is not None and watch.spec.service.severity == "critical":
                self._pages.fallen(watch.fall)

    def _follow_catalog(self) -> None:
        try:
            specs = resolve_all(catalog.current())
        except SmmError as error:
            if self._catalog_told != str(error):
                self._catalog_told = str(error)
                log.error("there is no usable catalogue", error=str(error))
            return
        self._catalog_told = None
        ours = {name: spec for name, spec in specs.items() if spec.watched_by == "watchdog"}
        for name in set(self._watches) - set(ours):
            del self._watches[name]
            if self._pages is not None:
                self._pages.risen(name)
            if self._repairs is not None:
                self._repairs.lost(name)
        for name, spec in ours.items():
            if name not in self._watches:
                self._watches[name] = self._begin(spec)
            else:
                self._watches[name].spec = spec

    def _begin(self, spec: Spec) -> _Watch:
        known = self._known.pop(spec.name, None)
        return _Watch(spec) if known is None else _Watch(spec, known.state, known.last)

    def _remembered(self) -> dict[str, statefile.Watched]:
        found = statefile.read(self._path)
        return dict(found.services) if found is not None else {}

    def _write(self) -> None:
        self._written = clock.monotonic()
        now = clock.now()
        services = {name: _watched(watch, now) for name, watch in sorted(self._watches.items())}
        content = statefile.StateFile(
            pid=os.getpid(),
            host=platform.node(),
            written_at=now,
            services=services,
            waiting=len(self._spool),
            pages=0 if self._pages is None else self._pages.waiting(),
            deadman=self._deadman(),
        )
        try:
            statefile.write(self._path, content)
            self._disk_told = False
        except OSError as error:
            if not self._disk_told:
                self._disk_told = True
                log.error("the state file cannot be written; watching goes on", error=error.strerror)


def _tell(name: str, flip: Flip, result: ProbeResult) -> None:
    fallen = {"error": result.error.text} if result.error else {}
    say = log.warning if flip.after is State.DOWN else log.info
    say("service changed", service=name, before=flip.before, after=flip.after, **fallen)


def _watched(watch: _Watch, now: datetime) -> statefile.Watched:
    service = watch.spec.service
    return statefile.Watched(
        kind=service.kind,
        essential=service.essential,
        severity=service.severity,
        depends_on=service.depends_on,
        interval_seconds=watch.spec.interval_seconds,
        state=watch.state,
        maintenance=catalog.in_maintenance(service, now),
        last=watch.last,
    )


def _is_eventful(decision: Decision, spec: Spec) -> bool:
    """Does this result carry the state machine on, rather than repeat what it already stands on?"""
    state, policy = decision.state, spec.policy
    in_a_row = state.failures or state.successes
    enough = policy.failures_to_down if state.failures else policy.successes_to_up
    return decision.flip is not None or bool(decision.announce) or in_a_row <= enough

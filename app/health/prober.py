"""Runs probes in threads: at most `size` at once, never two of one service, none waited for longer than its time-out.

The threads are daemons and are kept. One that hangs where no time-out reaches (a resolver, a dead network file system)
costs its service's probes their slot and nothing else: its late result is dropped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue

from app import clock
from app.health.probing import CannotTell, Outcome, Target
from app.health.results import Assessment, ProbeError, ProbeResult, assess
from app.health.specs import Spec
from app.infra import metrics
from app.infra.logging import get_logger

log = get_logger(__name__)

Verdict = ProbeResult | CannotTell

_NO_THREAD = "no free thread"
_SLACK_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class _Running:
    spec: Spec
    target: Target
    submitted: float
    started: float | None = None
    started_at: datetime | None = None
    dropped: bool = False


class Prober:
    """For one caller at a time; only the probes run in threads.

    A probe is called hanging `grace_seconds` after its time-out, and given up when no thread was free for it for
    `unstarted_seconds`.
    """

    def __init__(self, size: int = 50, *, grace_seconds: float = 1, unstarted_seconds: float = 30) -> None:
        self._size = size
        self._grace_seconds = grace_seconds
        self._unstarted_seconds = unstarted_seconds
        self._threads = 0
        self._inbox: SimpleQueue[_Running] = SimpleQueue()
        self._done: SimpleQueue[tuple[_Running | None, Verdict | None]] = SimpleQueue()
        self._running: dict[str, _Running] = {}

    def start(self, spec: Spec, target: Target) -> None:
        """Begin a probe. If the last one of this service still hangs, that is the result."""
        before = self._running.get(spec.name)
        if before is not None:
            if before.dropped:
                verdict = CannotTell(_NO_THREAD) if before.started is None else _hanging(target, clock.now())
                self._done.put((_Running(spec, target, clock.monotonic()), verdict))
            return
        self._running[spec.name] = running = _Running(spec, target, clock.monotonic())
        self._inbox.put(running)
        if self._threads < min(self._size, len(self._running)):
            self._threads += 1
            threading.Thread(target=self._work, name=f"probe-{self._threads}", daemon=True).start()

    def collect(self, wait_seconds: float) -> list[tuple[Spec, Verdict]]:
        """What has finished, waiting for the first at most so long; overdue probes are reported as timed out."""
        until = clock.monotonic() + wait_seconds
        finished = self._drain(min([until, *(self._gives_up_at(item) for item in self._waited_for())]))
        now = clock.monotonic()
        for item in self._waited_for():
            if now >= self._gives_up_at(item):
                finished.append((item.spec, self._give_up(item)))
        return finished

    def longest_seconds(self, targets: Iterable[Target]) -> float:
        """How long after their start each of these probes has a verdict for certain."""
        waits = [target.timeout_seconds for target in targets]
        return self._unstarted_seconds + max(waits, default=0.0) + self._grace_seconds + _SLACK_SECONDS

    def interrupt(self) -> None:
        """End the wait of `collect` now. Safe in a signal handler: SimpleQueue.put may be entered again."""
        self._done.put((None, None))

    def _gives_up_at(self, item: _Running) -> float:
        """The monotonic moment from which it is not waited for."""
        if item.started is None:
            return item.submitted + self._unstarted_seconds
        return item.started + item.target.timeout_seconds + self._grace_seconds

    def _waited_for(self) -> list[_Running]:
        return [item for item in self._running.values() if not item.dropped]

    def _drain(self, until: float) -> list[tuple[Spec, Verdict]]:
        finished: list[tuple[Spec, Verdict]] = []
        try:
            wait = max(0.0, until - clock.monotonic())
            item, verdict = self._done.get(timeout=wait) if wait else self._done.get_nowait()
            while True:
                if item is not None and self._running.get(item.spec.name) is item:
                    del self._running[item.spec.name]
                if item is not None and verdict is not None and not item.dropped:
                    finished.append((item.spec, verdict))
                item, verdict = self._done.get_nowait()
        except Empty:
            return finished

    def _give_up(self, item: _Running) -> Verdict:
        item.dropped = True
        if item.started_at is None:
            log.warning("no free thread for a probe: others hang", service=item.spec.name)
            return CannotTell(_NO_THREAD)
        log.warning("a probe hangs past its time-out", service=item.spec.name, kind=item.spec.probe.KIND)
        return _hanging(item.target, item.started_at)

    def _work(self) -> None:
        while True:
            item = self._inbox.get()
            if item.dropped:
                self._done.put((item, None))
                continue
            item.started_at, item.started = clock.now(), clock.monotonic()
            self._done.put((item, run_probe(item.spec, item.target, item.started_at)))


def run_probe(spec: Spec, target: Target, started_at: datetime) -> Verdict:
    """One probe, judged by its thresholds. A probe that raises is broken: a failed result and a log entry, no more."""
    started = clock.monotonic()
    try:
        return _judged(spec, target, spec.probe.probe(target, spec.options), started_at)
    except Exception as error:
        log.exception("a probe raised", service=spec.name, kind=spec.probe.KIND)
        broke = ProbeError("probe_broke", f"the probe itself failed: {type(error).__name__}")
        return _failed(target, started_at, broke)
    finally:
        metrics.PROBE_SECONDS.observe(clock.monotonic() - started, kind=spec.probe.KIND)


def _judged(spec: Spec, target: Target, outcome: Outcome | CannotTell, started_at: datetime) -> Verdict:
    if isinstance(outcome, CannotTell):
        metrics.PROBES.inc(kind=spec.probe.KIND, outcome="unknown")
        return outcome
    numbers = {**outcome.readings, "latency_ms": outcome.latency_ms}
    nothing_read = Assessment(levels=target.stood)
    found = assess(numbers, spec.thresholds, target.stood) if outcome.error is None else nothing_read
    reasons = [reason for reason in (outcome.degraded, found.degraded) if reason]
    metrics.PROBES.inc(kind=spec.probe.KIND, outcome="failed" if outcome.error else "degraded" if reasons else "ok")
    return ProbeResult(
        ok=outcome.error is None,
        started_at=started_at,
        finished_at=clock.now(),
        latency_ms=outcome.latency_ms,
        readings=outcome.readings,
        error=outcome.error,
        degraded="; ".join(reasons) or None if outcome.error is None else None,
        warnings=found.warnings,
        levels=dict(found.levels),
    )


def _failed(target: Target, started_at: datetime, error: ProbeError) -> ProbeResult:
    levels = dict(target.stood)
    return ProbeResult(ok=False, started_at=started_at, finished_at=clock.now(), error=error, levels=levels)


def _hanging(target: Target, started_at: datetime) -> ProbeResult:
    text = f"no answer within {target.timeout_seconds:g} s; the probe hangs"
    return _failed(target, started_at, ProbeError("timeout", text))


_prober: tuple[int, Prober] | None = None


def of_this_process() -> Prober:
    """The process's prober, made at first use; a forked child gets its own."""
    global _prober
    if _prober is None or _prober[0] != os.getpid():
        _prober = (os.getpid(), Prober())
    return _prober[1]

"""What the watch has just seen of a service, as it hands that on to whoever repairs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from app import clock
from app.health.core import ServiceState
from app.health.prober import Verdict
from app.health.probing import CannotTell
from app.health.results import ProbeResult
from app.health.specs import Spec
from app.recovery.core import Runner
from app.recovery.playbooks import Standing

EXPLAINED = "what it depends on fails, or is asked first"


@dataclass(frozen=True, slots=True)
class Sight:
    """How a service stands after a probe that began at the monotonic moment `probed`.

    `ok` is None when the probe told nothing about the service itself.
    """

    standing: Standing
    probed: float
    ok: bool | None
    text: str


def sight_of(
    spec: Spec, state: ServiceState, last: ProbeResult | None, verdict: Verdict, *, probed: float, counts: bool
) -> Sight:
    """`last`: the last result that counted; `counts`: does this verdict?"""
    standing = Standing(
        service=spec.name,
        kind=spec.service.kind,
        state=state.state,
        announced=state.announced,
        since=state.since,
        severity=spec.service.severity,
        essential=spec.service.essential,
        readings=last.readings if last is not None else {},
        levels=last.levels if last is not None else {},
        error={"code": last.error.code, "text": last.error.text} if last is not None and last.error else None,
        degraded=last.degraded if last is not None else None,
        runner=Runner.WATCHDOG,
    )
    if isinstance(verdict, CannotTell):
        return Sight(standing, probed, None, verdict.why)
    if not counts:
        return Sight(standing, probed, None, EXPLAINED)
    return Sight(standing, probed, verdict.ok, verdict.error.text if verdict.error is not None else "answers")


class Sights:
    """The last sight of each service. The watch writes, whoever repairs reads and waits; any thread may do either."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._woken = False
        self._by_name: dict[str, Sight] = {}
        self._ask: Callable[[str], None] = lambda _: None

    def use(self, ask: Callable[[str], None]) -> None:
        """Composition: who probes a service when asked to."""
        self._ask = ask

    def saw(self, sight: Sight) -> None:
        """The watch has seen this of a service."""
        with self._news:
            self._by_name[sight.standing.service] = sight
            self._wake_all()

    def lost(self, name: str) -> None:
        """The watch does not watch this service any more."""
        with self._news:
            self._by_name.pop(name, None)
            self._wake_all()

    def wake(self) -> None:
        """There is something else to look at."""
        with self._news:
            self._wake_all()

    def wait(self, seconds: float) -> None:
        """Until there is news since the last call, but not for longer."""
        with self._news:
            if not self._woken:
                self._news.wait(seconds)
            self._woken = False

    def all(self) -> dict[str, Sight]:
        """As they are now, by service."""
        with self._news:
            return dict(self._by_name)

    def fresh(self, name: str, seconds: float) -> tuple[Sight | None, bool]:
        """Have a service probed now: the last sight of it, and whether that is of a probe that began after the call.

        None: it is not watched. Waits for no longer than `seconds`.
        """
        asked = clock.monotonic()
        self._ask(name)

        def seen() -> bool:
            sight = self._by_name.get(name)
            return sight is None or sight.probed >= asked

        with self._news:
            in_time = self._news.wait_for(seen, seconds)
            return self._by_name.get(name), in_time

    def _wake_all(self) -> None:
        self._woken = True
        self._news.notify_all()

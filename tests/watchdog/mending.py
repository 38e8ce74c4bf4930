"""A medic in this process whose turns the test makes, services that fall and rise by its word, and what people hear."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from app import catalog, clock
from app.catalog import Service
from app.health.core import State
from app.recovery.core import Done, Effect, Run, Runner
from app.recovery.playbooks import Standing
from app.watchdog.copied import Copied
from app.watchdog.falls import Failure
from app.watchdog.journal import Journal
from app.watchdog.medic import Medic
from app.watchdog.sights import Sight, Sights
from tests.fixtures.waiting import until
from tests.recovery.field import Poke as AnyPoke

PLAYBOOK = """
[recovery]
cooldown = 0
containers = ["claw-*"]

[playbooks.restart]
on = "health.down"
unless = {"service.container" = ""}
steps = [{do = "poke"}, {do = "stare"}]
advice = "look at {subject}"
"""


def service_of(name: str, **more: Any) -> str:
    """A service that the watchdog watches and that has a container."""
    own = {"container": f'"claw-{name}"', "watched_by": '"watchdog"', "severity": '"critical"', **more}
    lines = [f"[services.{name}]", 'kind = "tcp"', 'host = "127.0.0.1"', "port = 1"]
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in own.items() if value is not None)]) + "\n"


class Poke(AnyPoke):
    """The same, told which service it pokes."""

    def says(self, options: Any, service: Service) -> str:
        return f"{self.NAME} {service.name}"

    def forbidden(self, options: Any, service: Service, catalog: Any) -> str | None:
        return "nobody may poke that" if options.word == "forbidden" else None


class Heard:
    """What whoever pages was told."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.over: list[str] = []
        self.acts: list[str] = []

    def fallen(self, trouble: Failure) -> None:
        if trouble.key not in {known.key for known in self.failures}:
            self.failures.append(trouble)

    def mended(self, key: str) -> None:
        self.over.append(key)

    def acted(self, service: str) -> None:
        self.acts.append(service)


class Ward:
    """Everything is real but the watch and the actions poke, nudge and stare."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "watchdog-repairs.jsonl"
        self.stop_file = home / "recovery-stopped.json"
        self.heard = Heard()
        self.copied = Copied()
        self.changes = 0
        self.lease_seconds = 0.0
        self.medics: list[Medic] = []
        self.poke = Poke("poke", Effect.RESTART)
        self.stare = Poke("stare", Effect.NONE, result=lambda work: Done("still down", healthy=False))
        self.nudge = Poke("nudge", Effect.CHANGE)
        self.begin()

    def begin(self) -> None:
        self.sights = Sights()
        self.journal = Journal(self.path)
        self.medic = Medic(
            self.sights,
            self.journal,
            lambda: self.copied,
            stop_file=self.stop_file,
            changed=self._changed,
            pages=self.heard,
            lease_seconds=self.lease_seconds,
        )
        self.medics.append(self.medic)

    def restart(self) -> None:
        """What another process would find; threads of this one are left to themselves."""
        self.medic.stop()
        assert self.journal._turn is not None
        os.close(self.journal._turn)
        self.begin()

    def _changed(self) -> None:
        self.changes += 1

    def see(self, name: str, state: State = State.DOWN, **more: Any) -> None:
        """The watch has probed the service, a moment ago."""
        service = catalog.current().services[name]
        standing = Standing(
            service=name,
            kind=service.kind,
            state=state,
            announced=state,
            since=clock.now() - timedelta(seconds=10),
            severity=service.severity,
            essential=service.essential,
            runner=Runner.WATCHDOG,
        )
        ok = more.pop("ok", state is not State.DOWN)
        self.sights.saw(Sight(replace(standing, **more), clock.monotonic(), ok, "as seen"))

    def until(self, fact: Callable[[], Any], what: str = "it") -> Any:
        """Make turns until that is so."""

        def after_a_turn() -> Any:
            self.medic.turn()
            return fact()

        return until(after_a_turn, what=what)

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.medic.turn()

    def runs(self) -> list[Run]:
        return self.journal.runs()

    def run(self) -> Run:
        """The only one."""
        (found,) = self.runs()
        return found

    def ends(self, count: int = 1) -> Run:
        """Make turns until so many runs have ended; the last one."""
        self.until(lambda: sum(run.ended_at is not None for run in self.runs()) == count, f"{count} runs have ended")
        return self.runs()[-1]

    def age(self, **passed: float) -> None:
        """Let every run have happened so much earlier."""
        by = timedelta(**passed)
        for run in self.runs():
            steps = tuple(_earlier(step, by) for step in run.steps)
            self.journal.keep(replace(_earlier(run, by), steps=steps))


def _earlier(item: Any, by: timedelta) -> Any:
    """The same with each of its times earlier by so much."""
    times = {each.name: getattr(item, each.name) for each in fields(item)}
    return replace(item, **{name: time - by for name, time in times.items() if isinstance(time, datetime)})

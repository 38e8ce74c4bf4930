"""Restart a service's container through the Docker Engine, once.

The engine may answer late, or whoever asked may die before the answer: the moment at which the container was started
last tells whether the restart has happened, and then it is not asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from app import clock
from app.catalog import Catalog, Service
from app.errors import NotFound, SmmError, Transient
from app.infra.docker_engine import Container, connected
from app.infra.words import duration
from app.recovery.acting import Again, Done, Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions

NAME = "restart_container"
SUMMARY = "restarts the service's container through the Docker Engine"
EFFECT = Effect.RESTART
KINDS: tuple[str, ...] = ()

_LOOK_SHARE = 0.4
"""Of a try's time for finding out how the container stands; an engine that is away is asked until then."""
_LAST_LOOK_SECONDS = 3.0
_BETWEEN_SECONDS = 1.0
_LEAST_SECONDS = 0.5
_AGAIN_SECONDS = 5.0
_SLOW = 3
"""Times its time-out that an engine may take for a restart before it is asked for another."""
_MOST_ASKED = 2
"""Times the engine is asked to restart in one step, when it failed to or its answer was lost."""


class Options(BaseOptions):
    """Which container, and how long it may take to stop."""

    container: str = Field(default="", max_length=128, description="name of the container; unset: the service's own")
    stop_seconds: int = Field(default=10, ge=0, le=60, description="seconds it may take to stop before it is killed")


def says(options: Options, service: Service) -> str:
    """What it will do."""
    return f"restart container {container_of(options, service) or 'of ' + service.name}"


def forbidden(options: Options, service: Service, catalog: Catalog) -> str | None:
    """Only containers that the catalogue lists."""
    name = container_of(options, service)
    if not name:
        return f"no container is set for {service.name}"
    if not any(fnmatchcase(name, pattern) for pattern in catalog.recovery.containers):
        return f"{name} is none of the containers that recovery.containers lists"
    return None


def container_of(options: Options, service: Service) -> str:
    """The container's name; empty where none is set."""
    return options.container.strip() or service.container or ""


def act(options: Options, work: Work) -> Result:
    """Look, restart unless a try before this one has done it, and look again."""
    refusal = forbidden(options, work.service, work.catalog)
    if refusal is not None:
        return Failed(refusal)
    name = container_of(options, work.service)
    try:
        return _Restart(name, options.stop_seconds, work, clock.monotonic() + work.timeout_seconds).run()
    except NotFound:
        return Failed(f"there is no container {name}: it was removed or renamed", {"container": name})
    except SmmError as error:
        return Failed(str(error), {"container": name} | dict(work.last_detail))


@dataclass(frozen=True, slots=True)
class _Restart:
    """One try. `kept` is what the tries before it have left: how the container stood, and when they asked for what."""

    name: str
    stop_seconds: int
    work: Work
    ends_at: float

    def run(self) -> Result:
        kept = dict(self.work.last_detail)
        found = self._look(self.work.timeout_seconds * _LOOK_SHARE)
        kept = _standing(found) | kept
        if self._has_restarted(found, kept):
            return _done(self.name, found, kept, "")
        if self._is_under_way(kept):
            return Again(_AGAIN_SECONDS, f"container {self.name} is being restarted", kept)
        if kept.get("asked", 0) >= _MOST_ASKED:
            return Failed(f"container {self.name} was not restarted: {kept.get('said')}", kept)
        return self._restart(kept)

    def _restart(self, kept: dict[str, Any]) -> Result:
        kept = kept | {"asked": kept.get("asked", 0) + 1, "asked_at": clock.iso(clock.now())}
        usual = self.stop_seconds + self.work.catalog.docker.timeout
        longest, started = min(usual, self._left() - _LAST_LOOK_SECONDS), clock.monotonic()
        try:
            with connected(self.work.catalog.docker) as engine:
                engine.restart(self.name, stop_seconds=self.stop_seconds, within=longest)
            took = duration(clock.monotonic() - started)
            return _done(self.name, self._look(_LAST_LOOK_SECONDS), kept, f" in {took}")
        except Transient as error:
            late = clock.monotonic() - started >= longest * 0.99
            return Again(_AGAIN_SECONDS, str(error), kept | {"late": late, "said": str(error)})

    def _look(self, seconds: float) -> Container:
        """How the container stands, asked again and again while the engine does not answer."""
        ends_at = clock.monotonic() + min(seconds, self._left())

        def inspect() -> Container:
            where = self.work.catalog.docker
            left = max(_LEAST_SECONDS, ends_at - clock.monotonic())
            with connected(where.model_copy(update={"timeout": min(where.timeout, left)})) as engine:
                return engine.inspect(self.name)

        return Retrying(
            retry=retry_if_exception_type(Transient),
            wait=wait_fixed(_BETWEEN_SECONDS),
            stop=stop_after_delay(max(0.0, ends_at - clock.monotonic() - _BETWEEN_SECONDS)),
            reraise=True,
        )(inspect)

    def _left(self) -> float:
        return max(_LEAST_SECONDS, self.ends_at - clock.monotonic())

    def _has_restarted(self, found: Container, kept: dict[str, Any]) -> bool:
        """Was it started since it was first asked for?"""
        if found.started_at is None:
            return False
        if kept.get("asked"):
            return clock.iso(found.started_at) != str(kept["started_at_before"])
        return self.work.interrupted_at is not None and found.started_at > self.work.interrupted_at

    def _is_under_way(self, kept: dict[str, Any]) -> bool:
        """May the engine, which has not answered yet, still be at it?"""
        if not kept.get("late"):
            return False
        longest = timedelta(seconds=self.stop_seconds + _SLOW * self.work.catalog.docker.timeout)
        return clock.now() < datetime.fromisoformat(kept["asked_at"]) + longest


def _standing(found: Container) -> dict[str, Any]:
    """How it stood before, as it is kept with the step."""
    return {
        "container": found.name,
        "id": found.id[:12],
        "state_before": found.state,
        "health_before": found.health,
        "exit_code_before": found.exit_code,
        "oom_killed": found.oom_killed,
        "error_before": found.error,
        "started_at_before": None if found.started_at is None else clock.iso(found.started_at),
    }


def _done(name: str, found: Container, kept: dict[str, Any], took: str) -> Done:
    after = {
        "state_after": found.state,
        "started_at_after": None if found.started_at is None else clock.iso(found.started_at),
    }
    died = "" if found.running else f"; it is {found.state} again, with code {found.exit_code}"
    return Done(f"restarted container {name}{took}{died}", kept | after)

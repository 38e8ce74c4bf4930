"""Does a container run, and is it healthy, by what its engine says.

While the engine cannot be asked nothing is recorded: an engine that restarts leaves its containers running, and to call
them all down would be false. That may not last, or nobody would ever learn that nothing is watched: when nothing could
be told for `engine_seconds`, that is the failure, under a code of its own, until the engine answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from app import clock
from app.errors import NotFound, SmmError
from app.health.probing import CannotTell, Defaults, Outcome, Target, failed
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold
from app.infra import docker_engine
from app.infra.docker_engine import Container

KIND = "docker"
SUMMARY = "a container runs and its own health check, if it has one, passes"
DEFAULTS = Defaults(interval_seconds=30)
READINGS = {
    "latency_ms": "time of the engine's answer",
    "restart_count": "restarts by the engine since the container was made",
    "uptime_seconds": "time since it was started",
    "exit_code": "of the process, where it has ended",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {
    "not_running": "Read the container's log for why it ended, then start it: `docker logs`, `docker start`.",
    "unhealthy": "Its own health check fails: `docker inspect` holds the check's last answers.",
    "restarting": "It ends again at once each time: read its log; the engine keeps restarting it.",
    "missing": "Create the container again, or correct its name in the catalogue.",
    "engine": "Start the Docker engine, or correct [docker] in the catalogue; the containers may well be running.",
}
_ENGINE = "engine"


class Options(BaseOptions):
    """The container is the service's own `container`, the engine the catalogue's [docker]."""

    engine_seconds: float = Field(
        default=300, ge=0, le=86_400, description="so long the engine may be away before that is a failure"
    )


def probe(target: Target, options: Options) -> Outcome | CannotTell:
    """One question to the engine, about the service's container."""
    where = target.docker.model_copy(update={"timeout": min(target.docker.timeout, target.timeout_seconds)})
    started = clock.monotonic()
    try:
        with docker_engine.connected(where) as engine:
            found = engine.inspect(target.container or target.name)
    except NotFound:
        return failed("missing", "there is no container of that name")
    except SmmError as error:
        return _untold(target, options, str(error))
    latency_ms = round((clock.monotonic() - started) * 1000, 2)
    outcome = _judge(found)
    return Outcome(_readings(found), latency_ms, outcome.error)


def _untold(target: Target, options: Options, why: str) -> Outcome | CannotTell:
    known_at = target.told_at or target.registered_at or target.watched_since
    silent = (clock.now() - known_at).total_seconds() if known_at is not None else 0.0
    if target.told_code != _ENGINE and silent <= options.engine_seconds:
        return CannotTell(why)
    return failed(_ENGINE, f"whether it runs cannot be told: {why}")


def _judge(found: Container) -> Outcome:
    match found.state:
        case "running" if found.health == "unhealthy":
            return failed("unhealthy", "it runs, and its own health check fails")
        case "running":
            return Outcome()
        case "restarting":
            return failed("restarting", f"it ends and is restarted over and over; {_end(found)}")
        case "exited" | "dead":
            return failed("not_running", f"it has ended; {_end(found)}")
        case _:
            return failed("not_running", f"it is {found.state}")


def _end(found: Container) -> str:
    said = f"exit code {found.exit_code}"
    if found.oom_killed:
        said += ", ended by the kernel for want of memory"
    return f"{said}: {found.error}" if found.error else said


def _readings(found: Container) -> dict[str, object]:
    readings: dict[str, object] = {"state": found.state, "restart_count": found.restart_count, "image": found.image}
    if found.health is not None:
        readings["health"] = found.health
    if not found.running:
        return readings | {"exit_code": found.exit_code}
    if found.started_at is not None:
        readings["uptime_seconds"] = round(max(0.0, (clock.now() - found.started_at).total_seconds()))
    return readings

"""What a try of a step is given, made for tests: the work, and a catalogue with one service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from app import clock
from app.catalog import Catalog, Service
from app.catalog.engines import Docker
from app.catalog.recovery import Recovery
from app.health.core import State
from app.health.probing import Target
from app.health.specs import resolve
from app.recovery.acting import ActionModule, Again, Result, Seen, Work
from app.recovery.actions import actions
from app.recovery.core import Effect, Run, Runner, StepRun

RUN_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def unseen() -> Seen:
    raise AssertionError("this action has no business with probes")


def service_of(kind: str = "heartbeat", **fields: Any) -> Service:
    """A service called claw-it."""
    return Service(name="it", kind=kind, **fields)


def catalog_of(service: Service, *, docker: Mapping[str, Any] | None = None, **recovery: Any) -> Catalog:
    return Catalog(
        services={service.name: service},
        docker=Docker.model_validate(dict(docker or {})),
        recovery=Recovery.model_validate(recovery),
    )


def work_of(
    service: Service | None = None,
    *,
    catalog: Catalog | None = None,
    probe: Callable[[], Seen] = unseen,
    database_url: str | None = None,
    redis_url: str | None = None,
    values: Mapping[str, Any] | None = None,
    **more: Any,
) -> Work:
    """The first try of the only step of a run for `service`."""
    service = service or service_of()
    now = clock.now()
    run = Run(
        id=RUN_ID,
        playbook="it-again",
        service=service.name,
        kind=service.kind,
        severity=service.severity,
        essential=service.essential,
        runner=Runner.ENGINE,
        started_by="signal",
        created_at=now,
        steps=(StepRun(place=0, action="it", effect=Effect.CHANGE, says="do it"),),
        values=values or {},
    )
    given = {
        "run": run,
        "place": 0,
        "catalog": catalog or catalog_of(service),
        "service": service,
        "spec": resolve(service),
        "target": Target(
            name=service.name, timeout_seconds=2, home=Path("/"), database_url=database_url, redis_url=redis_url
        ),
        "now": now,
        "began_at": now,
        "probe": probe,
        "timeout_seconds": 10.0,
    }
    return Work(**{**given, **more})


def act(name: str, work: Work, **options: Any) -> Result:
    """One try."""
    module = actions()[name]
    return module.act(module.Options.model_validate(options), work)


def again(work: Work, result: Result, *, after: timedelta | None = None, now: datetime | None = None) -> Work:
    """The work of the try after one that goes on."""
    assert isinstance(result, Again), result
    later = now or work.now + (after or timedelta(seconds=result.seconds))
    return replace(work, now=later, tries=work.tries + 1, last_detail=result.detail)


def to_the_end(name: str, work: Work, **options: Any) -> Result:
    """Try after try until one ends the step; time passes as the tries ask for it, but nobody waits."""
    for _ in range(100):
        result = act(name, work, **options)
        if not isinstance(result, Again):
            return result
        work = again(work, result)
    raise AssertionError(f"goes on and on: {result}")


def forbidden(name: str, service: Service, catalog: Catalog, **options: Any) -> str | None:
    module: ActionModule = actions()[name]
    return module.forbidden(module.Options.model_validate(options), service, catalog)


def seen(ok: bool | None, state: State = State.UP, *, over: bool | None = None, text: str = "as found") -> Seen:
    return Seen(ok=ok, text=text, state=state, over=over, confirm_seconds=5)

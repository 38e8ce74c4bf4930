"""Let named operations wait or fall back, by a mode that this run holds until it is resumed or its time is up."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from app import admission
from app.admission import Hold
from app.catalog import Catalog, Service
from app.catalog.alerting import Texts
from app.errors import SmmError
from app.infra.db import unit_of_work
from app.infra.words import duration
from app.recovery.acting import Done, Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions
from app.recovery.core import Run

NAME = "pause_operations"
SUMMARY = "lets named operations wait or fall back, until they are resumed or the time is up"
EFFECT = Effect.CHANGE
KINDS: tuple[str, ...] = ()


class Options(BaseOptions):
    """Which operations, in which way, and for how long at most."""

    operations: Texts = Field(
        default=(), max_length=100, description="their names; unset: those that the catalogue gives the mode"
    )
    effect: Literal["wait", "fall_back"] = Field(
        default="wait", description="wait: they are deferred; fall_back: they go on without"
    )
    mode: str = Field(
        default="", max_length=100, description="name of the mode to hold; unset: `playbook:` and the playbook's name"
    )
    minutes: float = Field(default=60, gt=0, le=10_080, description="minutes after which it ends in any case")
    reason: str = Field(
        default="", max_length=500, description="what callers are told; unset: the playbook and service"
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.operations and not self.mode:
            raise ValueError("needs operations, or the name of a mode of the catalogue")
        return self


def says(options: Options, _service: Service) -> str:
    """What it will do."""
    what = ", ".join(options.operations) or f"what the mode {options.mode} names"
    verb = "let fall back" if options.effect == "fall_back" else "pause"
    return f"{verb} {what} for up to {duration(options.minutes * 60)}"


def forbidden(_options: Options, _service: Service, _catalog: Catalog) -> str | None:
    """The catalogue has no say in it."""
    return None


def act(options: Options, work: Work) -> Result:
    """Hold the mode; doing so twice is holding it once."""
    falls_back = options.effect == "fall_back"
    try:
        with unit_of_work() as uow:
            hold = admission.enter(
                uow,
                mode_of(options.mode, work.run),
                by=holder_of(work.run),
                reason=options.reason or f"playbook {work.run.playbook} for {work.run.service}",
                now=work.now,
                fall_back=options.operations if falls_back else (),
                wait=() if falls_back else options.operations,
                until=work.now + timedelta(minutes=options.minutes),
                cause=(work.run.service,),
            )
    except SmmError as error:
        return Failed(f"operations could not be paused: {error}")
    return Done(_text(hold), {"mode": hold.name, "wait": list(hold.wait), "fall_back": list(hold.fall_back)})


def mode_of(given: str, run: Run) -> str:
    """The mode's name: the given one, else the playbook's own."""
    return given or f"playbook:{run.playbook}"


def holder_of(run: Run) -> str:
    """As whom a run holds a mode."""
    return f"playbook:{run.playbook} run {run.id}"


def _text(hold: Hold) -> str:
    parts = [
        f"{', '.join(names)} {verb}" for names, verb in ((hold.wait, "wait"), (hold.fall_back, "fall back")) if names
    ]
    return f"mode {hold.name} is on: {'; '.join(parts)}"

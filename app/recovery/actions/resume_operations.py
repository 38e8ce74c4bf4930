"""End what `pause_operations` of the same run holds."""

from __future__ import annotations

from pydantic import Field

from app import admission
from app.catalog import Catalog, Service
from app.errors import SmmError
from app.infra.db import unit_of_work
from app.recovery.acting import Done, Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions
from app.recovery.actions.pause_operations import holder_of, mode_of

NAME = "resume_operations"
SUMMARY = "lets operations go on that the same run has paused"
EFFECT = Effect.CHANGE
KINDS: tuple[str, ...] = ()


class Options(BaseOptions):
    """Which mode."""

    mode: str = Field(default="", max_length=100, description="as in pause_operations; unset: the playbook's own")


def says(options: Options, _service: Service) -> str:
    """What it will do."""
    return f"end the mode {options.mode}" if options.mode else "resume the operations that it paused"


def forbidden(_options: Options, _service: Service, _catalog: Catalog) -> str | None:
    """The catalogue has no say in it."""
    return None


def act(options: Options, work: Work) -> Result:
    """Others may hold the mode as well, and then it stays on; having nothing to end is fine."""
    name = mode_of(options.mode, work.run)
    try:
        with unit_of_work() as uow:
            ended = admission.leave(
                uow, name, by=holder_of(work.run), now=work.now, why=f"the run of {work.run.playbook} resumes them"
            )
    except SmmError as error:
        return Failed(f"operations could not be resumed: {error}")
    operations = sorted({word for hold in ended for word in (*hold.wait, *hold.fall_back)})
    text = f"resumed {', '.join(operations)}" if ended else f"nothing was paused by this run (mode {name})"
    return Done(text, {"mode": name, "operations": operations})

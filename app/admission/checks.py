"""What is wrong with the catalogue's modes beyond their shape: the jobs they submit when they end."""

from __future__ import annotations

from collections.abc import Iterator

from app.catalog import Catalog, Replay, did_you_mean
from app.errors import Invalid, Problem
from app.jobs import spec


def catalog_problems(catalog: Catalog) -> list[Problem]:
    """Every problem with its place: `modes.no-vectors.replay[0].task`. For `catalog.use_check`.

    A process that runs no jobs has no tasks declared, and leaves their names and arguments to those that have.
    """
    tasks = {contract.name: contract for contract in spec.every()}
    if not tasks:
        return []
    return [
        problem
        for mode in catalog.modes.values()
        for place, replay in enumerate(mode.replay)
        for problem in _replay(replay, f"modes.{mode.name}.replay[{place}]", tasks)
    ]


def _replay(replay: Replay, path: str, tasks: dict[str, spec.TaskSpec]) -> Iterator[Problem]:
    contract = tasks.get(replay.task)
    if contract is None:
        yield Problem(f"{path}.task", f"no task is named so{did_you_mean(replay.task, tasks)}")
        return
    try:
        contract.validate(replay.kwargs, at=f"{path}.kwargs")
    except Invalid as error:
        yield from error.problems

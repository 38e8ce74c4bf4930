"""`python -m tests.benchmarks NAME [ARGUMENT...]`: run one benchmark, or `all`; without a name they are listed.

A benchmark is a module of this package with `run()`, or with `run(arguments)` when it takes some.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import time
from types import ModuleType

from tests import benchmarks

NOT_IN_ALL = frozenset({"soak"})
"""Too long to run along; run by name."""

OTHERS = ("_", "support", "test_", "work_")
"""Modules of this package that measure nothing."""


def modules() -> dict[str, ModuleType]:
    """Every benchmark by its name."""
    found = {}
    for info in pkgutil.iter_modules(benchmarks.__path__):
        if not info.name.startswith(OTHERS):
            found[info.name] = importlib.import_module(f"{benchmarks.__name__}.{info.name}")
    return found


def main(arguments: list[str]) -> int:
    """0 when every benchmark ran; what it measured is for the reader to judge."""
    found = modules()
    if not arguments or arguments[0] in ("-h", "--help"):
        for name, module in found.items():
            print(f"{name:12} {(module.__doc__ or '').strip().splitlines()[0]}")
        return 0 if arguments else 2
    wanted = [name for name in found if name not in NOT_IN_ALL] if arguments[0] == "all" else arguments[:1]
    unknown = [name for name in wanted if name not in found]
    if unknown:
        print(f"no benchmark is named {unknown[0]}; there are {', '.join(found)}", file=sys.stderr)
        return 2
    for name in wanted:
        started = time.perf_counter()
        print(f"== {name}")
        if inspect.signature(found[name].run).parameters:
            found[name].run(arguments[1:])
        else:
            found[name].run()
        print(f"== {name}: {time.perf_counter() - started:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

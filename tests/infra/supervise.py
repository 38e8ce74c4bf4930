"""`python -m tests.infra.supervise PROCFILE`: the supervisor over any processes, without servers of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from app.config import settings
from app.errors import SmmError
from app.infra.supervisor.output import Output, Stream
from app.infra.supervisor.procfile import load
from app.infra.supervisor.startup import Plan, run


def main() -> int:
    entries = load(Path(sys.argv[1]))
    stream = Stream(1)
    output = Output(stream, [entry.name for entry in entries], colour=False, readable=True)
    plan = Plan(
        entries=entries,
        prepare=("-c", "pass"),
        on_ready=lambda: None,
        on_struggle=lambda name: output.say(f"{name} struggles"),
        on_hangup=lambda: "looked at again",
    )
    try:
        run(settings(), plan, output=output, stream=stream)
    except SmmError as error:
        output.say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

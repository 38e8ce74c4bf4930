"""`smm-admin down`: stop everything and wait for it; tasks that run may finish."""

from __future__ import annotations

import os
import signal
import time

import typer

from app import clock
from app.config import settings
from app.errors import Misconfigured, Transient
from app.infra.supervisor.lock import holder

# Beat, then SIGQUIT and SIGKILL, then the servers' own bounds, on top of what tasks are given.
_BEYOND_TASKS_SECONDS = 60.0


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("down")(down)


def down() -> None:
    """Stop what `up` started here. Fine, too, when nothing runs."""
    config = settings()
    pid = holder(config)
    if pid is None:
        typer.echo("not running")
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise Misconfigured(f"process {pid} belongs to another user: stop it as that user") from None
    deadline = clock.monotonic() + config.shutdown_seconds + _BEYOND_TASKS_SECONDS
    while holder(config) == pid:
        if clock.monotonic() > deadline:
            raise Transient(f"process {pid} is still stopping: see {config.home / 'log'}")
        time.sleep(0.1)
    typer.echo("stopped")

"""`smm-admin up`: start everything, or a part of it, and keep it running."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from app.config import Settings, resource, settings
from app.errors import Invalid, Misconfigured, SmmError
from app.infra.files import tail
from app.infra.supervisor.detach import Report, detach
from app.infra.supervisor.lock import holder, read_state
from app.infra.supervisor.output import Output, RotatingFile, Stream
from app.infra.supervisor.procfile import Entry, load, select
from app.infra.supervisor.startup import Plan, run

PREPARE = ("-m", "app.cli.main", "migrate", "--wait", "30")


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("up")(up)


def up(
    *,
    background: bool = typer.Option(False, "--detach", help="Return when everything runs; output goes to a log file."),
    only: str = typer.Option("", help="Run these processes only: names of the Procfile with commas between."),
    but: str = typer.Option("", "--except", help="Run all but these processes."),
    procfile: Path | None = typer.Option(None, help="Another Procfile than the one shipped."),
) -> None:
    """Start the servers (unless their URLs are set), bring the schema up to date, run the processes until Ctrl-C."""
    config = settings()
    entries = load(procfile or resource("Procfile"))
    try:
        entries = select(entries, only=_names(only), but=_names(but))
    except Misconfigured as error:
        raise typer.BadParameter(str(error)) from None
    if background:
        _in_background(config, entries)
    else:
        _in_foreground(config, entries)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _in_foreground(config: Settings, entries: list[Entry]) -> None:
    readable = sys.stdout.isatty()
    stream = Stream(sys.stdout.fileno())
    output = Output(
        stream,
        [entry.name for entry in entries],
        colour=readable and not os.environ.get("NO_COLOR"),
        readable=readable and config.log_format != "json",
    )
    run(config, _plan(entries), output=output, stream=stream)


def _in_background(config: Settings, entries: list[Entry]) -> None:
    running = holder(config)
    if running is not None:
        raise Misconfigured(f"already running (pid {running})")
    log = config.home / "log" / "smm-admin.log"

    def body(report: Report) -> int:
        output = Output(RotatingFile(log), [entry.name for entry in entries], colour=False, readable=False)
        told: list[str] = []

        def tell(text: str) -> None:
            if not told:
                told.append(text)
                report(text)

        try:
            run(config, _plan(entries, tell), output=output)
        except (SmmError, OSError) as error:
            output.say(str(error))
            tell(str(error))
            return 1
        return 0

    problem = detach(log, body, who_is_late=lambda: _late(config))
    if problem is not None:
        for line in tail(log)[-20:]:
            typer.echo(line, err=True)
        raise Misconfigured(problem)
    typer.echo(f"running (pid {holder(config)}); log: {log}; stop it with: smm-admin down")


def _late(config: Settings) -> str:
    """The processes that have not proved to work."""
    processes = read_state(config).get("processes", {})
    return ", ".join(name for name, state in processes.items() if state["state"] != "running") or "the servers"


def _plan(entries: list[Entry], tell: Callable[[str], None] = lambda _text: None) -> Plan:
    return Plan(
        entries=entries,
        prepare=PREPARE,
        on_ready=lambda: tell(""),
        on_struggle=lambda name: tell(f"{name} keeps ending; the others run on, smm-admin down ends them"),
        on_hangup=_check_catalog,
    )


def _check_catalog() -> str:
    """Processes notice a changed file by themselves; a SIGHUP says whether it is right."""
    from app import catalog  # noqa: PLC0415 - only when asked
    from app.recovery.checks import CHECKS  # noqa: PLC0415

    try:
        found = catalog.load(settings().catalog_file, CHECKS)
    except Invalid as error:
        return f"the configuration file stays as it was: {error}"
    except OSError as error:
        return f"the configuration file stays as it was: {error.strerror}"
    return f"the configuration file is fine: {len(found.services)} services"

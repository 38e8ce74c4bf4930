"""`smm-admin doctor`: look at everything this installation needs, and say of each fault what to do."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

import typer

from app import catalog, clock
from app.catalog import Catalog
from app.cli import doctor_running, doctor_tokens
from app.cli.finding import Finding
from app.cli.output import JsonOption, print_json
from app.config import Settings, settings
from app.errors import Misconfigured, SmmError
from app.infra import migrate, readiness
from app.infra.embedded import ports
from app.infra.supervisor import lock
from app.recovery.checks import CHECKS

LEAST_FREE_BYTES = 512 * 1024 * 1024
SILENT_SECONDS = 60.0


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("doctor")(doctor)


def doctor(as_json: bool = JsonOption) -> None:
    """Check this installation; exit code 1 when something is wrong."""
    findings = list(examine(settings()))
    fine = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": fine, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            typer.echo(finding.line)
    raise typer.Exit(0 if fine else 1)


def examine(config: Settings) -> Iterator[Finding]:
    """Everything, cheapest first."""
    yield _python()
    yield _packages(config)
    yield _disk(config)
    running = lock.holder(config) is not None
    known, file = _catalogue(config)
    refused = doctor_running.catalogue(config) if running and known is not None else None
    yield refused or file
    yield from _ports(config, running)
    yield _server("postgres", lambda: readiness.check_postgres(config), "DATABASE_URL")
    yield _server("redis", lambda: readiness.check_redis(config), "REDIS_URL")
    schema = _schema()
    yield schema
    if schema.ok:
        yield from doctor_tokens.examine(config, known)
    yield from _processes(config, running)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= (3, 11), version, "Python 3.11 or newer is needed")


def _packages(config: Settings) -> Finding:
    wanted = []
    for line in importlib.metadata.requires("smm-admin") or []:
        name = re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0]
        embedded = "embedded" in line.partition(";")[2] and (config.database_url is None or config.redis_url is None)
        if "extra ==" not in line or embedded:
            wanted.append(name)
    missing = [name for name in wanted if not _is_installed(name)]
    if missing:
        return Finding("packages", False, f"missing: {', '.join(missing)}", "pip install 'smm-admin[embedded]'")
    return Finding("packages", True, f"all {len(wanted)} installed")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _disk(config: Settings) -> Finding:
    place = config.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    detail = f"{free / 2**30:.1f} GB free for {config.home}"
    return Finding("disk", free >= LEAST_FREE_BYTES, detail, "make room, or set SMM_HOME to another disk")


def _catalogue(config: Settings) -> tuple[Catalog | None, Finding]:
    try:
        found = catalog.load(config.catalog_file, CHECKS)
    except SmmError as error:
        return None, Finding("catalogue", False, str(error), "smm-admin config check names every line")
    except OSError as error:
        said = f"{config.catalog_file}: {error.strerror}"
        return None, Finding("catalogue", False, said, "set SMM_CATALOG_FILE")
    return found, Finding("catalogue", True, f"{len(found.services)} services in {config.catalog_file}")


def _ports(config: Settings, running: bool) -> Iterator[Finding]:
    listening = (
        ("web", config.web_host, config.web_port, "SMM_WEB_PORT"),
        ("flower", config.flower_host, config.flower_port, "SMM_FLOWER_PORT"),
    )
    for name, host, port, variable in listening:
        try:
            free = ports.is_free(port, host=host)
        except OSError as error:
            yield Finding("ports", False, f"{name} cannot listen on {host}: {error.strerror}", "set its address")
            continue
        detail = f"{name}: {port} is free" if free else f"{name}: {port} is {ports.holder(port)}"
        yield Finding("ports", free or running, detail, f"stop it, or set {variable} to another port")


def _server(name: str, check: Callable[[], str], variable: str) -> Finding:
    try:
        return Finding(name, True, f"answers, version {check()}")
    except SmmError as error:
        return Finding(name, False, str(error), _unless_said(error, f"start smm-admin up, or set {variable}"))


def _unless_said(error: SmmError, advice: str) -> str:
    """Nothing where the error itself says so."""
    return "" if "start `smm-admin up`" in str(error) else advice


def _schema() -> Finding:
    try:
        at, expected = migrate.current(), migrate.head()
    except Misconfigured as error:
        return Finding("schema", False, str(error), _unless_said(error, "start smm-admin up"))
    except SmmError as error:
        return Finding("schema", False, f"unknown: {error}", "see postgres")
    return Finding("schema", at == expected, f"at {at or 'nothing'}, expected {expected}", "smm-admin migrate")


def _processes(config: Settings, running: bool) -> Iterator[Finding]:
    if not running:
        yield Finding("processes", False, "smm-admin is not running here", "smm-admin up")
        return
    for name, state in lock.read_state(config).get("processes", {}).items():
        age = _silence(config, name)
        detail = f"{name}: {state['state']}, pid {state['pid']}, {state['restarts']} restarts"
        if age is not None:
            detail += f", heartbeat {age:.0f} s ago"
        alive = state["state"] != "waiting" and (age is None or age < SILENT_SECONDS)
        yield Finding("processes", alive, detail, f"what it said is in {config.home / 'log'} or where `up` runs")


def _silence(config: Settings, name: str) -> float | None:
    """Seconds since its heartbeat; None when it has none."""
    try:
        return max(0.0, clock.now().timestamp() - (config.run_dir / f"{name}.heartbeat").stat().st_mtime)
    except OSError:
        return None

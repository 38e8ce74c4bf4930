"""`smm-admin config ...`: the catalogue and the environment, checked and shown without their secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import typer

from app import catalog
from app.catalog import Catalog
from app.cli import alert_catalogue
from app.cli.config_reference import markdown
from app.cli.config_values import environment_rows
from app.cli.output import JsonOption, print_json, print_table
from app.config import settings
from app.errors import Invalid, Problem
from app.health import specs
from app.infra.scrub import scrub
from app.recovery.checks import CHECKS

BEGIN, END = "<!-- reference: made by `smm-admin config reference --write docs` -->", "<!-- end of reference -->"
"""Between these the documentation is generated; `make docs` writes it."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

app = typer.Typer(no_args_is_help=True, help="The configuration file and the environment: checked, shown.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="config")


@app.command("check")
def check(
    file: Path | None = typer.Argument(None, help="A file; without one, the file in use."), as_json: bool = JsonOption
) -> None:
    """Say everything that is wrong with the file, each on its line; exit code 1 when anything is."""
    file = file or settings().catalog_file
    try:
        found = catalog.load(file, CHECKS)
    except Invalid as error:
        _print_problems(error, as_json)
        raise typer.Exit(1) from None
    count = len(found.services)
    if as_json:
        print_json(
            {"ok": True, "file": catalog.shown_path(file), "services": count, "digest": found.digest, "problems": []}
        )
    else:
        typer.echo(f"fine: {count} {_services(count)}")


@app.command("show")
def show(as_json: bool = JsonOption) -> None:
    """The configuration in force with every default, as TOML; secrets are hidden, `${NAME}` stays as written."""
    for check in CHECKS:
        catalog.use_check(check)
    found = catalog.current()
    broken = catalog.problem()
    services = {name: effective(found, name) for name in found.services}
    if as_json:
        print_json({"digest": found.digest, "problem": broken, "services": services})
        return
    typer.echo(f"# {found.digest} of {catalog.shown_path(settings().catalog_file)}")
    for name, fields in services.items():
        typer.echo(f"\n[services.{name}]")
        for key, value in fields.items():
            typer.echo(f"{key} = {as_toml(value)}")
    if broken:
        typer.echo(f"the file is broken, this is the last good one: {broken}", err=True)


@app.command("reload")
def reload(as_json: bool = JsonOption) -> None:
    """Check the file and say what changes. Every process takes a valid file up by itself, within about a second."""
    try:
        found = catalog.load(settings().catalog_file, CHECKS)
    except Invalid as error:
        _print_problems(error, as_json)
        if not as_json:
            typer.echo("nothing was changed: the last good configuration stays in force", err=True)
        raise typer.Exit(1) from None
    changes = _changes(_last_good(), found)
    if as_json:
        print_json({"ok": True, "digest": found.digest, "services": len(found.services), "changes": changes})
        return
    for change in changes:
        typer.echo(change)
    count = len(found.services)
    typer.echo(f"{found.digest}: {count} {_services(count)}; {'taken up now' if changes else 'in force'}")


@app.command("settings")
def list_settings(as_json: bool = JsonOption) -> None:
    """Every environment variable with its value, its default and what it means; secrets are hidden."""
    rows = [
        {
            "variable": " or ".join(row.names),
            "value": row.value,
            "default": row.default,
            "description": row.description,
        }
        for row in environment_rows()
    ]
    if as_json:
        print_json({"settings": rows})
        return
    headings = ("variable", "value", "default", "description")
    print_table(headings, [[row[heading] for heading in headings] for row in rows], empty="there are none")


@app.command("reference")
def reference(
    write: Path | None = typer.Option(None, "--write", help="The folder of the documentation, to bring it up to date."),
) -> None:
    """Every variable, key and kind of service, as Markdown; with --write also the catalogue of alerts."""
    if write is None:
        typer.echo(markdown(), nl=False)
        return
    _write(write / "configuration.md", markdown())
    _write(write / "alert-catalogue.md", alert_catalogue.markdown())


def _write(page: Path, made: str) -> None:
    """Put the generated part of a page in its place. Raises Invalid when the page has none."""
    try:
        before, rest = page.read_text().split(BEGIN)
        after = rest.split(END)[1]
    except (OSError, ValueError, IndexError):
        problem = Problem("--write", f"{page} does not hold the two marks of the reference")
        raise Invalid([problem], subject="folder") from None
    page.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{after}")


def effective(found: Catalog, name: str) -> dict[str, Any]:
    """One service as it is run: the kind's defaults filled in, its options beside the common keys, secrets hidden."""
    spec = specs.resolve(found.services[name])
    shown = spec.service.shown(spec.options.model_dump(mode="json"))
    shown |= {
        "interval": spec.interval_seconds,
        "timeout": spec.timeout_seconds,
        "watched_by": spec.watched_by,
        "thresholds": {
            reading: {"warning": limit.warning, "degraded": limit.degraded, "margin": limit.margin}
            for reading, limit in spec.thresholds.items()
        },
    }
    options = shown.pop("options")
    clean = scrub(_without_nothing({**shown, **options}))
    return clean if isinstance(clean, dict) else {}


def as_toml(value: object) -> str:
    """A JSON-ready value as one line of TOML."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_toml_key(key)} = {as_toml(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(as_toml(inner) for inner in value) + "]"
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return json.dumps(value, ensure_ascii=False)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)


def _without_nothing(value: Any) -> Any:
    """TOML has no null: what is None is left out."""
    if isinstance(value, dict):
        return {key: _without_nothing(inner) for key, inner in value.items() if inner is not None}
    return [_without_nothing(inner) for inner in value] if isinstance(value, list) else value


def _print_problems(error: Invalid, as_json: bool) -> None:
    if as_json:
        problems = [{"line": item.line, "field": item.field, "message": item.message} for item in error.problems]
        print_json({"ok": False, "file": error.subject, "problems": problems})
        return
    for line in catalog.lines_of(error):
        typer.echo(line, err=True)


def _last_good() -> Catalog | None:
    try:
        return catalog.load(catalog.last_good_file())
    except Invalid:
        return None


def _changes(old: Catalog | None, new: Catalog) -> list[str]:
    """One line for each service that comes, goes or differs."""
    before = {name: service.shown() for name, service in old.services.items()} if old else {}
    after = {name: service.shown() for name, service in new.services.items()}
    lines = [f"{name}: new" for name in after if name not in before]
    lines += [f"{name}: gone" for name in before if name not in after]
    for name, now in after.items():
        then = before.get(name, now)
        if now != then:
            mine, theirs = ({**tree, **tree["options"]} for tree in (now, then))
            keys = [key for key in {**theirs, **mine} if key != "options" and mine.get(key) != theirs.get(key)]
            lines.append(f"{name}: changed ({', '.join(keys)})")
    return lines


def _services(count: int) -> str:
    return "service" if count == 1 else "services"

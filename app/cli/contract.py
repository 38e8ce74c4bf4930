"""`smm-admin contract`: the published tasks, for people, machines and the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from app.cli.output import JsonOption, print_json, print_table
from app.errors import Invalid, Problem
from app.jobs import contract, spec
from tasks.celery import compose

BEGIN = "<!-- contract: made by `smm-admin contract --write docs` -->"
END = "<!-- end of contract -->"


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("contract")(show)


def show(
    as_json: bool = JsonOption,
    markdown: bool = typer.Option(False, "--markdown", help="The section of docs/enqueueing.md."),
    write: Path | None = typer.Option(None, help="Write contract.json and the section into this docs folder."),
) -> None:
    """What other services may enqueue: names, versions, queues and the schemas of arguments. Needs no server."""
    compose()
    document = contract.document(spec.published())
    if write is not None:
        _write(document, write)
    elif as_json:
        print_json(document)
    elif markdown:
        typer.echo(contract.markdown(document), nl=False)
    else:
        rows = [(task["name"], task["version"], task["queue"], task["summary"]) for task in document["tasks"]]
        print_table(("task", "version", "queue", "summary"), rows, empty="no task is published")


def _write(document: dict[str, Any], folder: Path) -> None:
    page = folder / "enqueueing.md"
    try:
        text = page.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
    except (OSError, ValueError, IndexError):
        problem = Problem("--write", f"{page} does not hold the two marks of the contract's section")
        raise Invalid([problem], subject="folder") from None
    page.write_text(f"{before}{BEGIN}\n\n{contract.markdown(document)}\n{END}{after}")
    (folder / "contract.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

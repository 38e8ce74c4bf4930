"""How `smm-admin recovery` shows runs, playbooks and guards to people: what matters first, no line to be decoded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from app.cli.output import print_table
from app.infra.words import ago, duration

LONGEST_CELL = 100
MOST_ROWS = 20
_INDENT = " " * 38


def runs(found: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """A table of runs."""
    print_table(
        ("id", "playbook", "service", "state", "began", "took", "by", "what"),
        [
            (
                row["id"],
                row["playbook"],
                row["service"],
                outcome(row),
                ago(datetime.fromisoformat(row["created_at"]), now),
                duration(row["seconds"]),
                row["started_by"],
                _cut(row["waits"] or row["why"]),
            )
            for row in found
        ],
        empty="no runs",
    )


def outcome(row: Mapping[str, Any]) -> str:
    """What became of a run, or how it is: `recovered`, `waiting`, `escalated (dry run)`."""
    said = "over by itself" if row["verdict"] == "by_itself" else (row["verdict"] or row["state"]).replace("_", " ")
    return f"{said} (dry run)" if row["dry_run"] and row["verdict"] != "simulated" else said


def run(found: Mapping[str, Any]) -> None:
    """One run, all of it."""
    typer.echo(f"{found['playbook']} for {found['service']}: {outcome(found)}")
    said = f"waits: {found['waits']}" if found["waits"] else found["why"]
    if said:
        typer.echo(f"  {said}")
    typer.echo("")
    _rows(
        ("id", found["id"]),
        ("in trouble since", found["since"] if _was_in_trouble(found["trigger"]) else None),
        ("began", f"{found['created_at']}, started by {found['started_by']}"),
        ("ended", found["ended_at"] and f"{found['ended_at']}, after {duration(found['seconds'])}"),
        ("to be aborted", found["abort_by"] and f"before the next step, by {found['abort_by']}"),
        ("incident", found["incident_id"] and f"smm-admin incidents show {found['incident_id']}"),
        ("steps taken by", f"the {found['runner']}"),
    )
    typer.echo("\nsteps")
    for step in found["steps"]:
        for line in _step(step):
            typer.echo(line)
    if found["advice"] and found["verdict"] in ("escalated", "refused"):
        typer.echo(f"\nwhat to do\n  {found['advice']}")
    if found["state"] != "ended":
        typer.echo(f"\nend it: smm-admin recovery abort {found['id']}")


def _was_in_trouble(trigger: Mapping[str, Any]) -> bool:
    """A person may start a run for a service that is well."""
    facts = trigger.get("facts") or {}
    return facts.get("state") != "up" or bool(facts.get("levels"))


def _step(step: Mapping[str, Any]) -> Iterator[str]:
    at = step["began_at"] or step["not_before"]
    clock = at[11:19] if at else ""
    took = duration(step["seconds"]) if step["seconds"] is not None else ""
    last = " (at the end, whatever came of it)" if step["last"] else ""
    yield f"  {step['place'] + 1:>2}  {step['state']:<10} {clock:<8} {took:>11}  {step['says']}{last}".rstrip()
    if step["text"]:
        yield f"{_INDENT}{step['text']}"
    for name, value in step.get("detail", {}).items():
        yield from _detail(name, value)


def _detail(name: str, value: Any) -> Iterator[str]:
    """A finding of a step: plain values in a line, rows each in one, cut so that a terminal keeps them apart."""
    if isinstance(value, list) and value:
        yield f"{_INDENT}{name}: {len(value)}"
        for row in value[:MOST_ROWS]:
            said = ", ".join(f"{key} {inner}" for key, inner in row.items()) if isinstance(row, dict) else str(row)
            yield f"{_INDENT}  {_cut(said)}"
        if len(value) > MOST_ROWS:
            yield f"{_INDENT}  and {len(value) - MOST_ROWS} more"
    elif value not in (None, "", [], {}):
        said = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
        yield f"{_INDENT}{name.replace('_', ' ')}: {_cut(said)}"


def playbooks(found: Sequence[Mapping[str, Any]]) -> None:
    """Each playbook with what starts it and its steps."""
    if not found:
        typer.echo("no playbooks in the catalogue")
    for place, playbook in enumerate(found):
        marks = [word for word, on in (("off", not playbook["enabled"]), ("dry run", playbook["dry_run"])) if on]
        marked = f" ({', '.join(marks)})" if marks else ""
        typer.echo(("\n" if place else "") + playbook["name"] + marked)
        if playbook["description"]:
            typer.echo(f"  {playbook['description']}")
        typer.echo(f"  starts: {', '.join(playbook['on']) or 'only when a person starts it'}")
        for word, conditions in (("when", playbook["when"]), ("unless", playbook["unless"])):
            if conditions:
                typer.echo(f"  {word}: {'; '.join(_condition(*item) for item in conditions.items())}")
        for number, step in enumerate(playbook["steps"], 1):
            typer.echo(f"  {number:>2}  {_planned(step)}")


def _condition(path: str, wanted: Any) -> str:
    return f"{path} {json.dumps(wanted, ensure_ascii=False)}"


def _planned(step: Mapping[str, Any]) -> str:
    known = {"do", "after", "on_failure", "last"}
    options = ", ".join(f"{name} {value}" for name, value in step.items() if name not in known)
    after = f" after {step['after']:g} s" if step["after"] else ""
    last = " (at the end, whatever came of it)" if step["last"] else ""
    return f"{step['do']}{after}{f': {options}' if options else ''}{last}"


def guards(found: Mapping[str, Any]) -> None:
    """The figures, and what of the budgets is used up."""
    stopped = found["stopped"]
    if stopped is not None:
        why = f": {stopped['reason']}" if stopped["reason"] else ""
        typer.echo(f"STOPPED by {stopped['by']} since {stopped['at']}{why}")
        typer.echo("  let it go on: smm-admin recovery resume\n")
    used = found["restarts_last_hour"]
    by_service = ", ".join(f"{name} {count} of {found['restarts_per_service']}" for name, count in used.items())
    _rows(
        ("recovery", "on" if found["enabled"] else "off: recovery.enabled is false in the catalogue"),
        ("dry run", "yes: nothing is done" if found["dry_run"] else "no"),
        ("containers", ", ".join(found["containers"]) or "none may be restarted"),
        ("restarts", f"{found['restarts_last_hour_in_all']} of {found['restarts_in_all']} in the last hour"),
        ("of each service", by_service or f"none of {found['restarts_per_service']} in the last hour"),
        ("critical at once", str(found["critical_at_once"])),
        ("cool-down", duration(found["cooldown_seconds"])),
        ("patience", duration(found["patience_seconds"])),
    )


def _rows(*pairs: tuple[str, str | None]) -> None:
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        typer.echo(f"{name:<{width}}  {value}")


def _cut(said: object) -> str:
    text = " ".join(str(said).split())
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"

"""What the pages about recovery show, made of the API's documents. Pure: takes `now`, returns plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.infra.words import duration
from app.web.console.charts import share
from app.web.console.figures import GLYPHS, figure, label
from app.web.console.moments import Moment, moment

_VERDICTS = {
    "recovered": "ok",
    "by_itself": "ok",
    "completed": "ok",
    "escalated": "bad",
    "refused": "warn",
    "aborted": "warn",
}
_WORDS = {"by_itself": "over by itself"}
_STEPS = {"done": "ok", "failed": "bad", "refused": "warn", "running": "warn"}
LONGEST_CELL = 500
MOST_ROWS = 50
MOST_COLUMNS = 12
LONG = 40
"""Columns of longer cells come last."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in a list."""

    id: str
    playbook: str
    service: str
    state: str
    tone: str
    glyph: str
    began: Moment
    took: str
    by: str
    why: str
    incident: str | None


@dataclass(frozen=True, slots=True)
class Rows:
    """A finding of a step that is a table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step: what it is, what came of it, what it found."""

    number: int
    says: str
    state: str
    tone: str
    glyph: str
    began: Moment
    clock: str
    took: str
    text: str
    last: bool
    options: tuple[tuple[str, str], ...]
    findings: tuple[tuple[str, str], ...]
    tables: tuple[Rows, ...]


@dataclass(frozen=True, slots=True)
class RunPage:
    """All of one run's page."""

    row: RunRow
    since: Moment
    runner: str
    dry_run: bool
    abort_by: str | None
    advice: str
    trigger: tuple[tuple[str, str], ...]
    steps: tuple[StepRow, ...]
    is_open: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """Restarts of the last hour: of one service, or of all."""

    name: str
    used: int
    limit: int
    width: float
    tone: str


@dataclass(frozen=True, slots=True)
class RecoveryPage:
    """All of the page about recovery. `is_stored` is false while Postgres is away."""

    stopped: str | None
    notices: tuple[str, ...]
    budgets: tuple[Budget, ...]
    guards: tuple[tuple[str, str], ...]
    open_runs: tuple[RunRow, ...]
    recent_runs: tuple[RunRow, ...]
    playbooks: tuple[Mapping[str, Any], ...]
    is_stored: bool


def run_row(given: Mapping[str, Any], now: datetime) -> RunRow:
    """A run as the API gives it."""
    tone = _VERDICTS.get(given["verdict"] or "", "calm") if given["state"] == "ended" else "warn"
    said = (given["verdict"] if given["state"] == "ended" else given["state"]) or given["state"]
    dry = " (dry run)" if given["dry_run"] and given["verdict"] != "simulated" else ""
    return RunRow(
        id=given["id"],
        playbook=given["playbook"],
        service=given["service"],
        state=_WORDS.get(said, said) + dry,
        tone=tone,
        glyph="…" if given["state"] != "ended" else GLYPHS[tone] if tone != "calm" else "i",
        began=moment(given["created_at"], now),
        took=duration(given["seconds"]),
        by="" if given["started_by"] == "signal" else given["started_by"],
        why=f"waits: {given['waits']}" if given["waits"] else given["why"],
        incident=given["incident_id"],
    )


def run_page(given: Mapping[str, Any], now: datetime) -> RunPage:
    """One whole run, of `reading.get_run`."""
    return RunPage(
        row=run_row(given, now),
        since=moment(given["since"] if _was_in_trouble(given["trigger"]) else None, now),
        runner=given["runner"],
        dry_run=given["dry_run"],
        abort_by=given["abort_by"],
        advice=given["advice"] if given["verdict"] in ("escalated", "refused") else "",
        trigger=_trigger(given["trigger"]),
        steps=tuple(_step(step, now) for step in given["steps"]),
        is_open=given["state"] != "ended",
    )


def _was_in_trouble(values: Mapping[str, Any]) -> bool:
    facts = values.get("facts") or {}
    return facts.get("state") != "up" or bool(facts.get("levels"))


def _trigger(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """How the service stood when the run began."""
    facts = values.get("facts") or {}
    readings = facts.get("readings") or {}
    said: list[tuple[str, str]] = [("state", str(facts.get("state") or ""))]
    said.append(("error", (facts.get("error") or {}).get("text") or ""))
    said.append(("degraded", facts.get("degraded") or ""))
    said += [
        (label(name)[0], f"{figure(readings.get(name))}{label(name)[1]}, {level}")
        for name, level in sorted((facts.get("levels") or {}).items())
    ]
    return tuple((name, value) for name, value in said if value)


def _step(given: Mapping[str, Any], now: datetime) -> StepRow:
    tone = _STEPS.get(given["state"], "calm")
    detail: Mapping[str, Any] = given["detail"]
    tables = tuple(_table(name, value) for name, value in detail.items() if _is_table(value))
    began = given["began_at"] or given["not_before"]
    return StepRow(
        number=given["place"] + 1,
        says=given["says"],
        state=given["state"],
        tone=tone,
        glyph={"planned": "·", "running": "…", "skipped": "-", "simulated": "i"}.get(given["state"], GLYPHS[tone]),
        began=moment(began, now),
        clock=began[11:19] if began else "",
        took=duration(given["seconds"]) if given["seconds"] is not None else "",
        text=given["text"] if given["text"] != given["says"] else "",
        last=given["last"],
        options=tuple((name, _cell(value)) for name, value in given["options"].items()),
        findings=tuple(
            (name.replace("_", " "), _cell(value))
            for name, value in detail.items()
            if not _is_table(value) and value not in (None, "", [], {})
        ),
        tables=tables,
    )


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Rows:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    filled = [key for key in columns if any(row.get(key) not in (None, "", []) for row in rows)]
    filled = sorted(filled, key=lambda key: max(len(_cell(row.get(key))) for row in rows) > LONG)[:MOST_COLUMNS]
    return Rows(
        title=name.replace("_", " "),
        columns=tuple(key.replace("_", " ") for key in filled),
        rows=tuple(tuple(_cell(row.get(key)) for key in filled) for row in rows[:MOST_ROWS]),
        left_out=max(0, len(rows) - MOST_ROWS),
    )


def _cell(value: object) -> str:
    match value:
        case None | "" | []:
            return ""
        case bool() | float():
            return figure(value)
        case int() | str():
            return str(value)[:LONGEST_CELL]
        case list() if not any(isinstance(item, Mapping | list) for item in value):
            return ", ".join(str(item) for item in value)[:LONGEST_CELL]
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)[:LONGEST_CELL]


def recovery_page(
    *,
    guards: Mapping[str, Any] | None,
    stop: str | None,
    open_runs: Iterable[Mapping[str, Any]],
    recent_runs: Iterable[Mapping[str, Any]],
    playbooks: Iterable[Mapping[str, Any]],
    now: datetime,
) -> RecoveryPage:
    """`guards` is None while Postgres is away; then `stop` is what this home's file says."""
    known = guards or {}
    stopped = known.get("stopped")
    if stopped is not None:
        why = f": {stopped['reason']}" if stopped["reason"] else ""
        stop = f"by {stopped['by']} since {stopped['at']}{why}"
    notices = []
    if known.get("enabled") is False:
        notices.append("No playbook starts by itself: recovery.enabled is false in the catalogue.")
    if known.get("dry_run"):
        notices.append("Nothing is done, only said: recovery.dry_run is true in the catalogue.")
    return RecoveryPage(
        stopped=stop,
        notices=tuple(notices),
        budgets=_budgets(known) if known else (),
        guards=_guards(known) if known else (),
        open_runs=tuple(run_row(run, now) for run in open_runs),
        recent_runs=tuple(run_row(run, now) for run in recent_runs),
        playbooks=tuple(_playbook(playbook) for playbook in playbooks),
        is_stored=guards is not None,
    )


def _budgets(given: Mapping[str, Any]) -> tuple[Budget, ...]:
    each = given["restarts_per_service"]
    used = [("all services", given["restarts_last_hour_in_all"], given["restarts_in_all"])]
    used += [(name, count, each) for name, count in given["restarts_last_hour"].items()]
    return tuple(
        Budget(name, count, limit, share(count, limit), "bad" if count >= limit else "warn" if count else "ok")
        for name, count, limit in used
    )


def _guards(given: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("Containers that may be restarted", ", ".join(given["containers"]) or "none"),
        ("Restarts of one service in an hour", str(given["restarts_per_service"])),
        ("Critical services under repair at once", str(given["critical_at_once"])),
        ("Cool-down after a run", duration(given["cooldown_seconds"])),
        ("Longest wait for what postpones a step", duration(given["patience_seconds"])),
    )


def _playbook(given: Mapping[str, Any]) -> Mapping[str, Any]:
    known = ("do", "after", "on_failure", "last")
    steps = [
        {
            "do": step["do"].replace("_", " "),
            "after": duration(step["after"]) if step["after"] else "",
            "last": step["last"],
            "goes_on": step["on_failure"] == "go_on",
            "options": [(name, _cell(value)) for name, value in step.items() if name not in known],
        }
        for step in given["steps"]
    ]
    conditions = [
        (word, f"{path} is {'' if word == 'when' else 'not '}{_wanted(wanted)}")
        for word in ("when", "unless")
        for path, wanted in given[word].items()
    ]
    return {**given, "steps": steps, "conditions": conditions, "starts": ", ".join(given["on"])}


def _wanted(value: object) -> str:
    return "empty" if value == "" else " or ".join(map(str, value)) if isinstance(value, list) else _cell(value)

"""The tables of docs/alert-catalogue.md, made from the configuration file that ships."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from app import catalog
from app.alerts.rules import runbook_page
from app.catalog import AlertRule, Telling
from app.config import resource

_PLACES = re.compile(r"(?:\{[\w.-]+(?::\w+)?\} ?)+")


def markdown(telling: Telling | None = None) -> str:
    """Every alert: those that our own signals raise, then those that others do."""
    rules = (telling or catalog.load(resource("deploy/smm-admin.toml")).telling).alerts.values()
    return "\n".join(
        [
            "## Raised by our own signals\n",
            _table(("Alert", "Severity", "Team", "Says", "Raised by", "Runbook"), _own(rules)),
            "## Raised by Prometheus or another service\n",
            _table(("Alert", "Severity", "Team", "Says", "When", "Runbook"), _others(rules)),
        ]
    )


def _own(rules: Iterable[AlertRule]) -> Iterator[tuple[str, ...]]:
    for rule in rules:
        if rule.on or rule.until:
            raised = ", ".join(f"`{kind}`" for kind in rule.on) or "the schedule"
            yield (
                f"`{rule.name}`",
                _severity(rule),
                _team(rule),
                _said(rule.summary),
                raised,
                _page(rule),
            )


def _others(rules: Iterable[AlertRule]) -> Iterator[tuple[str, ...]]:
    for rule in rules:
        if not rule.on and not rule.until:
            yield (
                f"`{rule.name}`",
                _severity(rule),
                rule.team,
                _said(rule.summary),
                _said(rule.description),
                _page(rule),
            )


def _severity(rule: AlertRule) -> str:
    if "{facts." in rule.severity:
        return "as its signal says"
    return "the service's" if "{" in rule.severity else rule.severity


def _team(rule: AlertRule) -> str:
    return rule.team or ("the service's" if rule.on else "")


def _said(text: str) -> str:
    """The text with dots where values go."""
    return _PLACES.sub("… ", text).strip().replace("… :", "…:")


def _page(rule: AlertRule) -> str:
    page = runbook_page(rule.runbook).removeprefix("docs/")
    return f"[{rule.runbook}]({page})"


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"

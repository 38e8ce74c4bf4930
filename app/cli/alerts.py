"""`smm-admin alerts ...`: what is wrong, who was told, and what people do about it. Speaks to Postgres directly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import typer

from app import catalog, clock
from app.alerts import acting, auditing, channels, explain, figures, reading
from app.alerts.acting import Target, Verdict
from app.alerts.matchers import parse_all
from app.cli import alert_shown, alert_silences
from app.cli.alert_words import identifier, labels, length, moment
from app.cli.jobs import who
from app.cli.output import JsonOption, print_json, print_table
from app.config import settings
from app.errors import Invalid, Problem
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.words import ago
from tasks.celery import compose

app = typer.Typer(no_args_is_help=True, help="What is wrong, who was told, and what people do about it.")

Id = typer.Argument(metavar="ID", help="An alert's id, or the beginning of one that no other has.")
By = typer.Option(None, "--by", help="Who does this; default: your login.")
Comment = typer.Option("", "--comment", help="Kept in the alert's history.")


def register(cli: typer.Typer) -> None:
    """Add these commands to smm-admin."""
    cli.add_typer(app, name="alerts")


@app.callback()
def _compose() -> None:
    compose()


app.command("silence")(alert_silences.silence)
app.command("silences")(alert_silences.list_silences)
app.command("expire")(alert_silences.expire)


@app.command("list")
def list_alerts(
    matcher: list[str] | None = typer.Argument(None, help="Such as severity=critical or name=~'a|b'; all must match."),
    *,
    state: str | None = typer.Option(None, help="pending, firing, acknowledged or resolved."),
    severity: str | None = typer.Option(None, help="info, warning, error or critical."),
    team: str | None = typer.Option(None),
    service: str | None = typer.Option(None),
    name: str | None = typer.Option(None),
    past: bool = typer.Option(False, "--all", help="Also those that are over."),
    limit: int = typer.Option(50, min=1, max=1000),
    cursor: str | None = typer.Option(None, help="`next` of the page before."),
    as_json: bool = JsonOption,
) -> None:
    """Alerts that last, newest first."""
    now = clock.now()
    with read_only() as session:
        page = reading.list_episodes(
            session,
            now=now,
            state=state,
            severity=severity,
            team=team,
            service=service,
            name=name,
            matchers=[found for word in matcher or [] for found in parse_all(word)],
            open_only=not past and state != "resolved",
            limit=limit,
            cursor=_cursor(cursor),
        )
    if as_json:
        print_json({"alerts": page.items, "next": page.next})
        return
    alert_shown.alerts(page, now)


@app.command("show")
def show(alert: str = Id, as_json: bool = JsonOption) -> None:
    """Everything about one alert: what it means, what happened, who was told."""
    with read_only() as session:
        found = reading.get_episode(session, identifier(session, "alert", alert), now=clock.now())
    print_json(found) if as_json else alert_shown.alert(found)


@app.command("ack")
def acknowledge(
    alert: str = Id,
    *,
    lasting: str | None = typer.Option(None, "--for", help="How long it holds: 90m, 2h. Default: as its ladder says."),
    comment: str = Comment,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Say that somebody is at it: nobody else is asked meanwhile."""
    minutes = None if lasting is None else length(lasting, "--for").total_seconds() / 60
    _act(
        alert,
        lambda uow, target, now: acting.acknowledge(
            uow, target, by=by or who(), now=now, minutes=minutes, comment=comment
        ),
        as_json,
    )


@app.command("unack")
def unacknowledge(alert: str = Id, *, comment: str = Comment, by: str | None = By, as_json: bool = JsonOption) -> None:
    """Take an acknowledgement back: people are told again."""
    _act(
        alert,
        lambda uow, target, now: acting.unacknowledge(uow, target, by=by or who(), now=now, comment=comment),
        as_json,
    )


@app.command("resolve")
def resolve(alert: str = Id, *, comment: str = Comment, by: str | None = By, as_json: bool = JsonOption) -> None:
    """Say that it is over; what still fires comes back as a new alert."""
    _act(alert, lambda uow, target, now: acting.resolve(uow, target, by=by or who(), now=now, comment=comment), as_json)


@app.command("comment")
def comment_on(
    alert: str = Id,
    text: str = typer.Argument(help="What to say."),
    *,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Keep a sentence with an alert."""
    _act(alert, lambda uow, target, now: acting.comment(uow, target, by=by or who(), text=text, now=now), as_json)


@app.command("verdict")
def judge(
    alert: str = Id,
    verdict: str = typer.Argument(help="needed or not_needed: was action needed?"),
    *,
    comment: str = Comment,
    by: str | None = By,
    as_json: bool = JsonOption,
) -> None:
    """Judge an alert: what the rate of false alerts is made of."""
    word = cast("Verdict", verdict.replace("-", "_"))
    _act(
        alert,
        lambda uow, target, now: acting.judge(uow, target, verdict=word, by=by or who(), now=now, comment=comment),
        as_json,
    )


@app.command("explain")
def explain_alert(
    alert: str | None = typer.Argument(None, metavar="[ID]", help="An alert's id, or the beginning of one."),
    *,
    label: list[str] | None = typer.Option(None, help="NAME=VALUE of an alert that might come; again for more."),
    annotation: list[str] | None = typer.Option(None, help="NAME=VALUE; again for more."),
    at: str | None = typer.Option(None, help="When it would begin to fire: ISO 8601. Default: now."),
    as_json: bool = JsonOption,
) -> None:
    """Why somebody is told of an alert, or not; of one that is there, or of one that might come (--label)."""
    if (alert is None) == (not label):
        raise Invalid([Problem("ID", "give an alert's id, or the labels of one that might come")], subject="arguments")
    now = clock.now() if at is None else moment(at, "--at")
    with read_only() as session:
        if alert is not None:
            found = explain.explain_episode(session, identifier(session, "alert", alert), now=now)
        else:
            said = labels(annotation or [], "--annotation")
            found = explain.dry_run(session, labels(label or [], "--label"), said, now=now)
    print_json(found) if as_json else alert_shown.explained(found)


@app.command("test")
def try_out(
    channel: str = typer.Argument(help="Name of a channel."),
    to: str | None = typer.Option(None, help="Address there, where the channel has many."),
    as_json: bool = JsonOption,
) -> None:
    """Send a test message through a channel now; exit code 1 unless it was delivered."""
    outcome = channels.try_out(catalog.current(), channel, external_url=settings().external_url, now=clock.now(), to=to)
    shown = channels.outcome_shown(channel, outcome)
    if as_json:
        print_json(shown)
    else:
        took = f" in {outcome.latency_ms:.0f} ms" if outcome.latency_ms is not None else ""
        typer.echo(f"{channel}: {shown['outcome']}{took}{f': {outcome.error}' if outcome.error else ''}")
    if not outcome.delivered:
        if to is None and channels.needs_address(catalog.current(), channel):
            typer.echo("name an address for this test: --to ADDRESS", err=True)
        raise typer.Exit(1)


@app.command("audit")
def show_audit(*, as_json: bool = JsonOption) -> None:
    """Is alerting itself in order: nothing late, undelivered or unproven? Exit code 1 when something is."""
    with read_only() as session:
        found = auditing.audit(session, clock.now())
    if as_json:
        print_json(found.as_dict())
    else:
        for line in found.findings or ("nothing is late, undelivered or unproven",):
            typer.echo(line)
    if not found.clean:
        raise typer.Exit(1)


@app.command("figures")
def show_figures(
    days: float = typer.Option(30.0, min=0.01, max=3660, help="How far back."),
    as_json: bool = JsonOption,
) -> None:
    """How well alerting works: times to detect, answer and resolve, delivery, false alerts, noise."""
    now = clock.now()
    with read_only() as session:
        found = figures.figures(session, now - timedelta(days=days), now)
    print_json(found) if as_json else alert_shown.figures(found)


@app.command("notifications")
def list_notifications(
    *,
    alert: str | None = typer.Option(None, help="Of the groups that hold this alert: an id, or its beginning."),
    state: str | None = typer.Option(None, help="waiting, sending, delivered, failed or skipped."),
    channel: str | None = typer.Option(None),
    limit: int = typer.Option(50, min=1, max=1000),
    cursor: str | None = typer.Option(None, help="`next` of the page before."),
    as_json: bool = JsonOption,
) -> None:
    """What was or will be told to whom, newest first."""
    with read_only() as session:
        page = reading.list_notifications(
            session,
            state=state,
            channel=channel,
            episode_id=None if alert is None else identifier(session, "alert", alert),
            limit=limit,
            cursor=_cursor(cursor),
        )
    if as_json:
        print_json({"notifications": page.items, "next": page.next})
        return
    alert_shown.notifications(page, clock.now())


@app.command("channels")
def list_channels(as_json: bool = JsonOption) -> None:
    """The channels of the catalogue, and how each fared in the last seven days."""
    now = clock.now()
    with read_only() as session:
        found = channels.overview(session, catalog.current(), now)
    if as_json:
        print_json({"channels": found})
        return
    print_table(
        ("channel", "kind", "state", "delivered", "failed", "last delivered", "last error"),
        [
            (
                row["name"],
                row["kind"],
                "on" if row["enabled"] else "off",
                row["delivered"],
                row["failed"],
                ago(alert_shown.at(row["last_delivered_at"]), now),
                row["last_error"],
            )
            for row in found
        ],
        empty="no channels in the catalogue",
    )


def _act(alert: str, deed: Callable[[UnitOfWork, Target, datetime], object], as_json: bool) -> None:
    """Do it, and say what the alert is then."""
    now = clock.now()
    with unit_of_work() as uow:
        found = identifier(uow.session, "alert", alert)
        deed(uow, Target("episode", found), now)
        shown: dict[str, Any] = reading.get_episode(uow.session, found, now=now)
    if as_json:
        print_json(shown)
        return
    taken = shown["acknowledged"]
    until = f" by {taken['by']} until {taken['until']}" if taken else ""
    typer.echo(f"{shown['id']} {shown['name']} is {shown['state']}{until}")


def _cursor(typed: str | None) -> UUID | None:
    if typed is None:
        return None
    try:
        return UUID(typed)
    except ValueError:
        raise Invalid([Problem("--cursor", "is no `next` of a page")], subject="arguments") from None

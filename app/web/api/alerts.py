"""/api/v1/alerts: alerts as they are and were, what people do about them, why somebody is told or not, the figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from app import clock
from app.alerts import acting, auditing, explain, figures, reading
from app.alerts.acting import Target
from app.alerts.core import State
from app.alerts.matchers import Matcher, parse_all
from app.catalog import Severity
from app.errors import Invalid, Problem
from app.infra.db import TooSlow, UnitOfWork, read_only, read_within, unit_of_work
from app.web.api import alert_bodies as bodies
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/alerts", tags=["alerts"])

LIST_SECONDS = 5.0
FIGURES_SECONDS = 20.0
FIGURES_DAYS = 30
_TOO_SLOW = "takes too long to answer: narrow it"


@router.get("", summary="List alerts, newest first")
def list_alerts(
    _caller: CurrentCaller,
    *,
    state: Annotated[State | None, Query(description="pending, firing, acknowledged, resolved")] = None,
    severity: Annotated[Severity | None, Query(description="info, warning, error, critical")] = None,
    team: str | None = None,
    service: str | None = None,
    name: Annotated[str | None, Query(description="exactly this one")] = None,
    matcher: Annotated[
        list[str] | None, Query(description='such as `severity=~"error|critical"`; all must match')
    ] = None,
    open: Annotated[bool, Query(description="only those that last")] = False,  # noqa: A002
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """`next` is the cursor of the following page, null on the last. 422 for a filter that takes too long to apply."""
    try:
        with read_within(LIST_SECONDS) as session:
            page = reading.list_episodes(
                session,
                now=clock.now(),
                state=state,
                severity=severity,
                team=team,
                service=service,
                name=name,
                matchers=_matchers(matcher or []),
                open_only=open,
                limit=limit,
                cursor=cursor,
            )
    except TooSlow as error:
        raise Invalid([Problem("query", _TOO_SLOW)], subject="filter") from error
    return {"alerts": list(page.items), "next": page.next}


@router.get("/audit", summary="Is alerting itself in order")
def show_audit(_caller: CurrentCaller) -> dict[str, Any]:
    """What is late, undelivered or unproven: `findings` is empty when nothing is."""
    with read_within(LIST_SECONDS) as session:
        return auditing.audit(session, clock.now()).as_dict()


@router.get("/figures", summary="How well alerting works")
def show_figures(
    _caller: CurrentCaller,
    since: Annotated[bodies.Moment | None, Query(description="default: 30 days before `until`")] = None,
    until: Annotated[bodies.Moment | None, Query(description="default: now")] = None,
) -> dict[str, Any]:
    """Times to detect, answer and resolve in seconds; delivery; the rate of false alerts; the noisiest alerts."""
    end = until or clock.now()
    try:
        with read_within(FIGURES_SECONDS) as session:
            return figures.figures(session, since or end - timedelta(days=FIGURES_DAYS), end)
    except TooSlow as error:
        raise Invalid([Problem("query.since", _TOO_SLOW)], subject="filter") from error


@router.post(
    "/explain", openapi_extra=bodies.body(bodies.DryRun, required=True), summary="Who would be told of an alert?"
)
def explain_draft(_caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """Of an alert that might come: its routes, who is told when and by what, the ladder, or why nobody is told."""
    wanted = bodies.read(bodies.DryRun, raw)
    with read_only() as session:
        return explain.dry_run(session, wanted.labels, wanted.annotations, now=wanted.at or clock.now())


@router.get("/{alert_id}", summary="One alert")
def show(_caller: CurrentCaller, alert_id: UUID) -> dict[str, Any]:
    """With its history, the groups it is told in, and every notification of them."""
    with read_only() as session:
        return reading.get_episode(session, alert_id, now=clock.now())


@router.get("/{alert_id}/explain", summary="Why is somebody told of an alert, or not?")
def explain_alert(_caller: CurrentCaller, alert_id: UUID) -> dict[str, Any]:
    """Everything that decides about it now, what was told, and what comes next."""
    with read_only() as session:
        return explain.explain_episode(session, alert_id, now=clock.now())


@router.post("/{alert_id}/acknowledge", openapi_extra=bodies.body(bodies.Acknowledge), summary="Acknowledge an alert")
def acknowledge(caller: CurrentCaller, alert_id: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """Nobody else is asked while somebody is at it. 409 for one that has not fired yet, or is over."""
    wanted = bodies.read(bodies.Acknowledge, raw)
    return _act(
        alert_id,
        lambda uow, target, now: acting.acknowledge(
            uow, target, by=wanted.by or caller.name, now=now, minutes=wanted.minutes, comment=wanted.comment
        ),
    )


@router.post("/{alert_id}/unacknowledge", openapi_extra=bodies.body(bodies.Act), summary="Take that back")
def unacknowledge(caller: CurrentCaller, alert_id: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """Nobody is at it after all: people are told again."""
    wanted = bodies.read(bodies.Act, raw)
    return _act(
        alert_id,
        lambda uow, target, now: acting.unacknowledge(
            uow, target, by=wanted.by or caller.name, now=now, comment=wanted.comment
        ),
    )


@router.post("/{alert_id}/resolve", openapi_extra=bodies.body(bodies.Act), summary="Resolve an alert")
def resolve(caller: CurrentCaller, alert_id: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """A person says it is over; what still fires comes back as a new alert. 409 for one that is over."""
    wanted = bodies.read(bodies.Act, raw)
    return _act(
        alert_id,
        lambda uow, target, now: acting.resolve(
            uow, target, by=wanted.by or caller.name, now=now, comment=wanted.comment
        ),
    )


@router.post(
    "/{alert_id}/comment", openapi_extra=bodies.body(bodies.Comment, required=True), summary="Comment on an alert"
)
def comment(caller: CurrentCaller, alert_id: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """A sentence for its history, shown among the actions taken."""
    wanted = bodies.read(bodies.Comment, raw)
    return _act(
        alert_id,
        lambda uow, target, now: acting.comment(uow, target, by=wanted.by or caller.name, text=wanted.text, now=now),
    )


@router.post(
    "/{alert_id}/verdict", openapi_extra=bodies.body(bodies.Verdict, required=True), summary="Was action needed?"
)
def verdict(caller: CurrentCaller, alert_id: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """`needed` or `not_needed`: what the rate of false alerts is made of. The last verdict counts."""
    wanted = bodies.read(bodies.Verdict, raw)
    return _act(
        alert_id,
        lambda uow, target, now: acting.judge(
            uow, target, verdict=wanted.verdict, by=wanted.by or caller.name, now=now, comment=wanted.comment
        ),
    )


def _act(alert_id: UUID, deed: Callable[[UnitOfWork, Target, datetime], object]) -> dict[str, Any]:
    """Do it, and show the alert as it is then."""
    now = clock.now()
    with unit_of_work() as uow:
        deed(uow, Target("episode", alert_id), now)
        return reading.get_episode(uow.session, alert_id, now=now)


def _matchers(given: list[str]) -> tuple[Matcher, ...]:
    try:
        return tuple(matcher for text in given for matcher in parse_all(text))
    except Invalid as error:
        problems = [Problem("query.matcher", problem.message) for problem in error.problems]
        raise Invalid(problems, subject="filter") from None

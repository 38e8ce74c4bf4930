"""/api/v1/silences: what shall not be told, from when until when, and who said so why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from app import clock
from app.alerts import reading, silences
from app.alerts.matchers import Matcher, parse_all
from app.alerts.muting import SilenceState
from app.errors import Invalid, Problem
from app.infra.db import read_only, unit_of_work
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import SilenceMatcher, SilenceRequest
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/silences", tags=["silences"])


@router.get("", summary="List silences")
def list_silences(
    _caller: CurrentCaller,
    state: Annotated[SilenceState | None, Query(description="active, pending or expired")] = None,
    expired: Annotated[bool, Query(description="also those that are over")] = False,
) -> dict[str, Any]:
    """Active ones by their end, pending ones by their beginning; expired ones only when asked for."""
    now = clock.now()
    with read_only() as session:
        found = silences.list_silences(session, now)
    wanted = [state] if state is not None else [s for s in SilenceState if expired or s is not SilenceState.EXPIRED]
    return {"silences": [reading.silence_shown(item, now) for item in found if item.state(now) in wanted]}


@router.post(
    "", status_code=201, openapi_extra=bodies.body(SilenceRequest, required=True), summary="Silence what matches"
)
def create(caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """People are not told of what matches meanwhile; it goes on, and is shown with the reason."""
    wanted = bodies.read(SilenceRequest, raw)
    now = clock.now()
    starts_at, ends_at = _times(wanted, wanted.starts_at or now)
    with unit_of_work() as uow:
        made = silences.create(
            uow,
            matchers=_matchers(wanted.matchers),
            starts_at=starts_at,
            ends_at=ends_at,
            created_by=wanted.by or caller.name,
            comment=wanted.comment,
            now=now,
        )
    return reading.silence_shown(made, now)


@router.get("/{silence_id}", summary="One silence")
def show(_caller: CurrentCaller, silence_id: UUID) -> dict[str, Any]:
    """Expired ones are kept for a while."""
    with read_only() as session:
        return reading.silence_shown(silences.get(session, silence_id), clock.now())


@router.put("/{silence_id}", openapi_extra=bodies.body(SilenceRequest, required=True), summary="Change a silence")
def change(caller: CurrentCaller, silence_id: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """Other matchers, or one that has expired, make a new silence under another id; the old one ends."""
    wanted = bodies.read(SilenceRequest, raw)
    now = clock.now()
    with unit_of_work() as uow:
        present = silences.get(uow.session, silence_id)
        lasts = present.state(now) is not SilenceState.EXPIRED
        starts_at, ends_at = _times(wanted, wanted.starts_at or (present.starts_at if lasts else now))
        changed = silences.update(
            uow,
            silence_id,
            matchers=_matchers(wanted.matchers),
            starts_at=starts_at,
            ends_at=ends_at,
            created_by=wanted.by or caller.name,
            comment=wanted.comment,
            now=now,
        )
    return reading.silence_shown(changed, now)


@router.delete("/{silence_id}", summary="End a silence now")
def expire(caller: CurrentCaller, silence_id: UUID) -> dict[str, Any]:
    """One that has expired stays as it is."""
    now = clock.now()
    with unit_of_work() as uow:
        return reading.silence_shown(silences.expire(uow, silence_id, by=caller.name, now=now), now)


def _times(wanted: SilenceRequest, starts_at: datetime) -> tuple[datetime, datetime]:
    """(beginning, end). Raises Invalid unless exactly one of `ends_at` and `minutes` was given."""
    if (wanted.ends_at is None) == (wanted.minutes is None):
        raise Invalid([Problem("ends_at", "give either ends_at or minutes")], subject="body")
    if wanted.ends_at is not None:
        return starts_at, wanted.ends_at
    return starts_at, starts_at + timedelta(minutes=wanted.minutes or 0)


def _matchers(given: list[SilenceMatcher | str]) -> tuple[Matcher, ...]:
    """Raises Invalid naming each that is none by its place."""
    found: list[Matcher] = []
    problems: list[Problem] = []
    for place, item in enumerate(given):
        try:
            if isinstance(item, str):
                found += parse_all(item)
            else:
                found.append(Matcher(item.name, item.value, item.is_regex, item.is_equal))
        except Invalid as error:
            problems += [Problem(f"matchers.{place}", problem.message) for problem in error.problems]
    if problems:
        raise Invalid(problems, subject="body")
    return tuple(found)

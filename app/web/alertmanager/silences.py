"""/api/v2/silences and /api/v2/silence/ID."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Response

from app import clock
from app.alerts import silences
from app.alerts.matchers import Matcher
from app.errors import Invalid, NotFound, Problem
from app.infra.db import read_only, unit_of_work
from app.web.alertmanager.filters import parsed
from app.web.alertmanager.refusals import endpoints, refused
from app.web.deps import CurrentCaller, parse_json, sent_bytes

router = endpoints()

_BODY = {"requestBody": {"required": True, "content": {"application/json": {}}}}
_INVALID = "silence invalid: "
_FAILED = "Failed to create silence: "


@router.get("/silences", summary="All silences, expired ones too")
def list_silences(
    filter: Annotated[list[str] | None, Query(description="matchers on a silence's own matchers")] = None,  # noqa: A002
) -> list[dict[str, Any]]:
    """Active ones first, by their ends; then pending and expired ones."""
    now, wanted = clock.now(), parsed(filter)
    with read_only() as session:
        return [silence.as_dict(now) for silence in silences.list_silences(session, now, matchers=wanted)]


@router.post("/silences", summary="Begin or change a silence", response_model=None, openapi_extra=_BODY)
def post_silence(raw: Annotated[bytes, Depends(sent_bytes)]) -> Response | dict[str, str]:
    """A known `id` changes that one, where it can; its matchers or its past cannot: it ends, and a new one begins."""
    now = clock.now()
    try:
        wanted = _wanted(parse_json(raw))
        silence_id = wanted.pop("id")
        with unit_of_work() as uow:
            if silence_id is None:
                kept = silences.create(uow, **wanted, now=now)
            else:
                kept = silences.update(uow, silence_id, **wanted, now=now)
    except Invalid as error:
        return refused([_worded(problem) for problem in error.problems])
    except NotFound:
        return refused(["silence not found"], 404)
    return {"silenceID": kept.id}


@router.get("/silence/{silence_id}", summary="One silence")
def get_silence(silence_id: UUID) -> dict[str, Any]:
    """404 when there is none of that id."""
    with read_only() as session:
        return silences.get(session, silence_id).as_dict(clock.now())


@router.delete("/silence/{silence_id}", summary="Expire a silence")
def delete_silence(caller: CurrentCaller, silence_id: UUID) -> Response:
    """It stays to be read. 404 when there is none of that id."""
    with unit_of_work() as uow:
        silences.expire(uow, silence_id, by=caller.name, now=clock.now())
    return Response()


def _wanted(body: Any) -> dict[str, Any]:
    """What `silences.create` and `update` take, and `id` (or None). Raises Invalid; NotFound for an id that is none."""
    if not isinstance(body, dict):
        raise Invalid([Problem("body", "must be an object")], subject="silence")
    problems: list[Problem] = []
    wanted = {
        "matchers": _matchers(body.get("matchers"), problems),
        "starts_at": _moment(body, "startsAt", problems),
        "ends_at": _moment(body, "endsAt", problems),
        "created_by": _text(body, "createdBy", problems),
        "comment": _text(body, "comment", problems),
    }
    if problems:
        raise Invalid(problems, subject="silence")
    return wanted | {"id": _id(body.get("id"))}


def _id(written: Any) -> UUID | None:
    if written is None or written == "":
        return None
    try:
        return UUID(written)
    except (ValueError, AttributeError, TypeError):
        raise NotFound("an id that is none") from None


def _matchers(written: Any, problems: list[Problem]) -> tuple[Matcher, ...]:
    if not isinstance(written, list) or not written:
        problems.append(Problem("matchers", "matchers must be a list of at least one"))
        return ()
    found = []
    for place, one in enumerate(written):
        try:
            if not isinstance(one, dict):
                raise Invalid([Problem("", "must be an object")])
            found.append(Matcher.from_dict(one))
        except Invalid as error:
            where = f"matchers.{place}"
            problems += [Problem(f"{where}.{problem.field}".rstrip("."), problem.message) for problem in error.problems]
    return tuple(found)


def _moment(body: Mapping[str, Any], field: str, problems: list[Problem]) -> datetime:
    try:
        moment = datetime.fromisoformat(str(body.get(field)))
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except ValueError:
        problems.append(Problem(field, "must be a time as in RFC 3339"))
        return clock.now()


def _text(body: Mapping[str, Any], field: str, problems: list[Problem]) -> str:
    written = body.get(field, "")
    if not isinstance(written, str):
        problems.append(Problem(field, "must be a text"))
        return ""
    return written


def _worded(problem: Problem) -> str:
    """In Alertmanager's words, where it has some for it."""
    match problem.field:
        case "ends_at":
            return f"{_FAILED}{problem.message}"
        case "matchers":
            return f"{_INVALID}{problem.message}"
        case _:
            return f"{_INVALID}{problem}"

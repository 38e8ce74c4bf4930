"""Every error leaves as RFC 9457 problem+json, with the request's id; none repeats what the caller sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import ProgrammingError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from app.access.callers import NotAllowed
from app.errors import Conflict, Invalid, Misconfigured, NotFound, Problem, Transient
from app.infra.logging import get_logger
from app.web.metrics_middleware import template_of

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""What `Retry-After` says when the dependency in trouble named no time of its own."""

TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request time-out",
    409: "Conflict",
    413: "Body too large",
    422: "Input not valid",
    429: "Too many requests",
    500: "Internal error",
    503: "Temporarily unavailable",
}


class Unauthenticated(Exception):
    """No key, or one that is not ours."""


def problem(
    status: int,
    detail: str,
    *,
    request_id: str | None = None,
    errors: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """One problem document; `errors` name the fields that are wrong, in dots, `members` are the problem's own."""
    title = TITLES.get(status, "Error")
    body: dict[str, Any] = {
        "type": f"urn:smm-admin:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        **(members or {}),
    }
    if errors:
        body["errors"] = [{"field": item.field, "message": item.message} for item in errors]
    if request_id is not None:
        body["request_id"] = request_id
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def validation_problems(errors: Sequence[Any]) -> list[Problem]:
    """Pydantic's findings as field and message. Their `input` is left behind: it may hold a secret."""
    return [Problem(_field(item["loc"]), item["msg"].removeprefix("Value error, ")) for item in errors]


def _field(location: Sequence[int | str]) -> str:
    parts = [str(part) for part in location]
    return ".".join(parts[1:] if parts[:1] == ["body"] and len(parts) > 1 else parts) or "body"


def install(app: FastAPI) -> None:
    """Give every error the product raises on purpose its status; the unexpected is RequestContext's."""

    @app.exception_handler(Invalid)
    async def invalid(request: Request, error: Invalid) -> JSONResponse:
        detail = f"{error.subject} is not valid"
        return problem(422, detail, request_id=_id(request), errors=error.problems)

    @app.exception_handler(RequestValidationError)
    async def not_parsed(request: Request, error: RequestValidationError) -> JSONResponse:
        found = validation_problems(error.errors())
        return problem(422, "the request is not valid", request_id=_id(request), errors=found)

    @app.exception_handler(Unauthenticated)
    async def unauthenticated(request: Request, error: Unauthenticated) -> JSONResponse:
        challenge = {"WWW-Authenticate": 'Bearer realm="smm-admin"'}
        return problem(401, str(error), request_id=_id(request), headers=challenge)

    @app.exception_handler(NotAllowed)
    async def not_allowed(request: Request, error: NotAllowed) -> JSONResponse:
        log.warning(
            "request refused: not allowed",
            caller=error.caller,
            scope=error.scope or "admins only",
            method=request.method,
            endpoint=template_of(request.scope),
        )
        return problem(403, str(error), request_id=_id(request))

    @app.exception_handler(NotFound)
    async def not_found(request: Request, error: NotFound) -> JSONResponse:
        return problem(404, str(error), request_id=_id(request))

    @app.exception_handler(Conflict)
    async def conflict(request: Request, error: Conflict) -> JSONResponse:
        return problem(409, str(error), request_id=_id(request))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
        return problem(error.status_code, str(error.detail), request_id=_id(request), headers=headers)

    _install_troubles(app)


def _install_troubles(app: FastAPI) -> None:
    @app.exception_handler(Transient)
    async def transient(request: Request, error: Transient) -> JSONResponse:
        log.warning("request met a dependency in trouble", error=str(error))
        wait = error.retry_after.total_seconds() if error.retry_after else RETRY_SECONDS
        headers = {"Retry-After": str(max(1, math.ceil(wait)))}
        return problem(503, "a service this request needs is in trouble", request_id=_id(request), headers=headers)

    @app.exception_handler(Misconfigured)
    async def misconfigured(request: Request, error: Misconfigured) -> JSONResponse:
        log.error("request met a misconfiguration", error=str(error))
        return problem(503, "the installation is misconfigured: its log says how", request_id=_id(request))

    @app.exception_handler(ProgrammingError)
    async def old_schema(request: Request, error: ProgrammingError) -> JSONResponse:
        if getattr(error.orig, "pgcode", None) not in {"42P01", "42703"}:  # undefined table, undefined column
            raise error
        log.error("the database's schema is older than this program", advice="run `smm-admin migrate`")
        return problem(
            503, "the database's schema is not this version's: run `smm-admin migrate`", request_id=_id(request)
        )


def _allowed(request: Request) -> str:
    """Every method this path knows; the framework names those of the first route only."""
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    routes = request.app.routes
    return ", ".join(
        method
        for method in known
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )


def _id(request: Request) -> str | None:
    found = request.scope.get("smm.request_id")
    return found if isinstance(found, str) else None

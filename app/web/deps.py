"""What endpoints depend on: who is calling, and what they sent."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.types import Scope

from app import clock
from app.access.callers import BOOTSTRAP, Caller, Role
from app.access.directory import Directory
from app.config import Settings, settings
from app.errors import Invalid, Problem
from app.infra import adminkey
from app.infra.text import storable
from app.web.errors import Unauthenticated, validation_problems
from app.web.metrics_middleware import template_of

_bearer = HTTPBearer(auto_error=False, description="the key of home/admin.key, or one of `smm-admin keys create`")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="the same key, for clients without Bearer")

LONGEST_NUMBER = 100
KEY_SECONDS = 1.0
"""How old what was read of the key's file may be."""

CALLER = "smm.caller"
"""Key of the scope: who is calling, once that is known."""


async def authenticate(request: Request, _b: object = Depends(_bearer), _k: object = Depends(_header)) -> Caller:
    """Who is calling, if they may use this endpoint. Raises Unauthenticated, NotAllowed, Transient.

    What their scopes select is looked at by the endpoint. The two schemes above are declared for the OpenAPI document.
    """
    return await admitted(request)


async def admitted(request: Request) -> Caller:
    """The same for endpoints that ask by themselves."""
    caller = await caller_of(request.scope)
    caller.require_endpoint(request.method, template_of(request.scope))
    return caller


async def caller_of(scope: Scope) -> Caller:
    """The one place where a request becomes a caller. Raises Unauthenticated, Transient.

    Prometheus and amtool may know no scheme but Basic: then the key is the password, and the name does not matter. The
    key of the installation is compared without the database, so that it opens the API while Postgres is away.
    """
    known = scope.get(CALLER)
    if isinstance(known, Caller):
        return known
    given = _given(Headers(scope=scope))
    if not given:
        raise Unauthenticated("give an API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    if secrets.compare_digest(given.encode(), _admin_key()):
        caller = Caller(BOOTSTRAP, Role.ADMIN)
    else:
        key = await directory().find(given)
        if key is None:
            raise Unauthenticated("this API key is not known here")
        caller = Caller(key.name, key.role, key.scopes)
    scope[CALLER] = caller
    return caller


def _given(headers: Mapping[str, str]) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    # A proxy may want a Basic password of its own.
    return headers.get("x-api-key", "").strip() or (_password(credentials) if scheme.lower() == "basic" else "")


_kept: tuple[Settings, float, bytes] | None = None
_directory: tuple[Settings, Directory] | None = None


def directory() -> Directory:
    """The keys that people made, as this process knows them."""
    global _directory
    config = settings()
    if _directory is None or _directory[0] is not config:
        _directory = (config, Directory())
    return _directory[1]


def _admin_key() -> bytes:
    """The file is read once a second, not once a request."""
    global _kept
    config, now = settings(), clock.monotonic()
    if _kept is None or _kept[0] is not config or now >= _kept[1]:
        _kept = (config, now + KEY_SECONDS, adminkey.load_or_create(config).encode())
    return _kept[2]


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


CurrentCaller = Annotated[Caller, Depends(authenticate)]


async def sent_bytes(request: Request, _caller: CurrentCaller) -> bytes:
    """The body as it came. Asks who is calling first: a stranger's body is not even parsed."""
    return await request.body()


def sent_json(raw: Annotated[bytes, Depends(sent_bytes)]) -> Any:
    """The request's JSON, whatever its Content-Type says. Raises Invalid."""
    return parse_json(raw)


SentJson = Annotated[Any, Depends(sent_json)]


class _Why(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reason: str = Field(default="", max_length=500)


def pause_reason(raw: Annotated[bytes, Depends(sent_bytes)]) -> str:
    """`{"reason": "..."}`, or no body at all. Raises Invalid."""
    if not raw.strip():
        return ""
    try:
        return storable(_Why.model_validate(parse_json(raw)).reason)
    except ValidationError as error:
        raise Invalid(validation_problems(error.errors(include_input=False)), subject="body") from None


PauseReason = Annotated[str, Depends(pause_reason)]


def parse_json(raw: bytes) -> Any:
    """Strict JSON: no NaN, no numbers beyond a double. Raises Invalid with the place, never the text."""
    if not raw.strip():
        raise Invalid([Problem("body", "is empty: a JSON object is expected")], subject="body")
    try:
        return json.loads(raw, parse_constant=_no_constant, parse_float=_finite, parse_int=_short)
    except json.JSONDecodeError as error:
        message = f"is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise Invalid([Problem("body", message)], subject="body") from None
    except UnicodeDecodeError:
        raise Invalid([Problem("body", "is no UTF-8 text")], subject="body") from None
    except RecursionError:
        raise Invalid([Problem("body", "is nested too deeply")], subject="body") from None
    except ValueError as error:
        raise Invalid([Problem("body", str(error))], subject="body") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"holds {name}, which JSON has not")


def _short(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"holds a number of more than {LONGEST_NUMBER} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("holds a number beyond the range of a double")
    return number

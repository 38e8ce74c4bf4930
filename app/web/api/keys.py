"""/api/v1/keys: API keys are made, listed and revoked."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from app import clock
from app.access import keys
from app.infra.db import read_only, unit_of_work
from app.jobs import spec
from app.tokens.providers import platforms
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body
from app.web.deps import CurrentCaller, directory

router = APIRouter(prefix="/keys", tags=["keys"])


class KeyRequest(Body):
    """A key that shall be made."""

    name: str = Field(max_length=100, description="kept with whatever is done with it")
    role: str = Field(default="service", max_length=50, description="service, or admin, who may do everything")
    scopes: list[str] = Field(default_factory=list, max_length=100, description="what a service may do")
    days: float = Field(default=keys.DAYS, description="how long it is good")


@router.get("", summary="All keys")
def list_keys(_caller: CurrentCaller) -> dict[str, Any]:
    """Also those that were revoked or have expired. The key of the installation is not among them."""
    now = clock.now()
    with read_only() as session:
        return {"keys": [key.document(now) for key in keys.list_keys(session)]}


@router.post("", status_code=201, openapi_extra=bodies.body(KeyRequest, required=True), summary="Make a key")
def create(caller: CurrentCaller, raw: bodies.Sent, response: Response) -> dict[str, Any]:
    """`key` is in this answer and nowhere else. 409 while a key of this name is in use."""
    wanted = bodies.read(KeyRequest, raw)
    now = clock.now()
    with unit_of_work() as uow:
        secret, key = keys.create(
            uow,
            wanted.name,
            role=wanted.role,
            scopes=wanted.scopes,
            days=wanted.days,
            by=caller.name,
            now=now,
            platforms=platforms(),
            tasks=[task.name for task in spec.published()],
        )
    directory().forget()
    response.headers["Cache-Control"] = "no-store"
    return {"key": secret.reveal(), **key.document(now)}


@router.post("/{name}/revoke", summary="Revoke a key")
def revoke(caller: CurrentCaller, name: str) -> dict[str, Any]:
    """It is refused from now on; by other processes within five seconds."""
    now = clock.now()
    with unit_of_work() as uow:
        key = keys.revoke(uow, name, by=caller.name, now=now)
    directory().forget()
    return key.document(now)


def components() -> dict[str, Any]:
    """The schema of the body, for the OpenAPI document."""
    return {KeyRequest.__name__: KeyRequest.model_json_schema()}

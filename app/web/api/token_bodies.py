"""Bodies of the endpoints about accounts and tokens, as the OpenAPI document shows them; read by `app.tokens.given`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, SecretStr

from app.catalog import Contact
from app.errors import Invalid, Problem
from app.tokens.given import MOST_CONTACTS
from app.tokens.given_reading import LONGEST, hidden
from app.tokens.import_rows import CSV, JSON, LINES
from app.tokens.provider import LONGEST_TOKEN
from app.web.api.alert_bodies import Body
from app.web.deps import parse_json

_Token = Annotated[SecretStr | None, Field(default=None, max_length=LONGEST_TOKEN)]
_Name = Annotated[str, Field(min_length=1, max_length=LONGEST)]
_Text = Annotated[str | None, Field(default=None, max_length=LONGEST)]
_Contacts = Annotated[list[Contact] | None, Field(default=None, max_length=MOST_CONTACTS)]


class TokenRequest(Body):
    """A token that people have. It is sealed at once, and no answer shows it."""

    access_token: _Token = Field(description="what is sent with calls to the platform")
    refresh_token: _Token = Field(description="what it is refreshed with, where the platform has one")
    expires_at: datetime | None = Field(default=None, description="when it ends; or give expires_in")
    expires_in: int | None = Field(default=None, gt=0, description="seconds from issued_at, else from now")
    issued_at: datetime | None = Field(default=None, description="when the platform gave it")
    refresh_expires_at: datetime | None = Field(default=None, description="when the refresh token ends")
    scopes: list[str] | str | None = Field(default=None, description="what its owner allowed")
    token_type: _Text = Field(description='such as "bearer"')


class AccountChange(Body):
    """What may be changed of an account; what is left out stays."""

    name: _Text = Field(description="what people call it")
    app: _Text = Field(description="a name of [apps.NAME]; empty: the one of its platform's name")
    contacts: _Contacts = Field(description="how its owner is told; empty: those of the tenant")
    telegram: _Text = Field(description="one more contact: a chat, on the channel of this kind")
    email: _Text = Field(description="one more contact: an address, on the channel of this kind")


class AccountRequest(AccountChange, TokenRequest):
    """An account; with a token it is connected, else its owner logs in."""

    tenant: _Name = Field(description="whose it is")
    platform: _Name = Field(description="instagram, threads, facebook, x, tiktok, linkedin, reddit")
    account: _Name = Field(description="the platform's id of it, as operations name it")


class DisableRequest(Body):
    """Why it is left alone."""

    reason: str = Field(min_length=1, max_length=500, description="kept with the account and on record")


MODELS = (AccountChange, AccountRequest, DisableRequest, TokenRequest)


def given(raw: bytes) -> dict[str, Any]:
    """A JSON object with its tokens hidden, as the first thing that is done to it. Raises Invalid."""
    found = parse_json(raw)
    if not isinstance(found, dict):
        raise Invalid([Problem("body", "must be a JSON object")], subject="body")
    return hidden(found)


def components() -> dict[str, Any]:
    """The schemas of the bodies, for the OpenAPI document."""
    found: dict[str, Any] = {}
    for model in MODELS:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    return found


def import_body() -> dict[str, Any]:
    """An operation's `requestBody`: a file of accounts."""
    row: dict[str, Any] = {"$ref": "#/components/schemas/AccountRequest"}
    content = {
        CSV: {"schema": {"type": "string", "description": "a line of headings, then an account a line"}},
        JSON: {"schema": {"type": "array", "items": row}},
        LINES: {"schema": row},
    }
    return {"requestBody": {"required": True, "content": content}}

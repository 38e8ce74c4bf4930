"""The catalogue's tables about platform accounts: [tokens], how tokens are kept alive, and [apps.NAME]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator

from app.catalog.alerting import Table, Texts, _plain
from app.catalog.billing import _address
from app.catalog.explain import explain
from app.catalog.rows import rows
from app.catalog.values import NAME, Count, Figure, Label, Seconds
from app.errors import Problem

TOKENS, APPS = "tokens", "apps"
TABLES = (TOKENS, APPS)

_VISIBLE = re.compile(r"[\x21-\x7e]{1,1000}")
_VERSION = r"^v[0-9]{1,3}\.[0-9]{1,2}$"


def _visible(value: SecretStr) -> SecretStr:
    # Anything else cannot be sent, and the client's own complaint would show it.
    if _VISIBLE.fullmatch(value.get_secret_value()) is None:
        raise ValueError("must be visible ASCII characters without blanks")
    return value


Address = Annotated[str, AfterValidator(_address)]


class Tokens(Table):
    """[tokens]: when tokens are refreshed, and what follows when they cannot be."""

    daily_at: Annotated[time, AfterValidator(_plain)] = Field(
        default=time(9), description="when all tokens are looked at, in the tenant's time zone"
    )
    refresh_days: Figure = Field(default=10, gt=0, le=365, description="days left from which on a token is refreshed")
    urgent_days: Figure = Field(default=3, ge=0, le=365, description="and not refreshed: the client is told urgently")
    pause_days: Figure = Field(default=1, ge=0, le=365, description="and not refreshed: its operations are paused")
    attempts: Count = Field(default=3, ge=1, le=20, description="tries until the client is asked to log in again")
    retry_minutes: Figure = Field(default=60, ge=1, le=1440, description="from one of these tries to the next one")
    spread_minutes: Figure = Field(default=30, ge=0, le=720, description="over which the refreshes of a day are spread")
    lease_seconds: Seconds = Field(default=90, ge=30, le=900, description="how long one refresh may take in all")
    app_retry_minutes: Figure = Field(
        default=60, ge=1, le=1440, description="until an app that its platform refused is tried again"
    )
    link_hours: Figure = Field(default=168, gt=0, le=2160, description="how long a link to log in again is good")
    login_minutes: Figure = Field(default=15, ge=1, le=60, description="how long a login may take on the platform")
    success: Figure = Field(default=0.95, ge=0, le=1, description="share of refreshes that shall succeed")
    success_days: Count = Field(default=7, ge=1, le=90, description="days over which that share is taken")
    success_least: Count = Field(default=20, ge=1, le=10_000, description="tries without which the share is not judged")

    @model_validator(mode="after")
    def _falls(self) -> Tokens:
        if not self.refresh_days > self.urgent_days >= self.pause_days:
            raise ValueError("refresh_days must be more than urgent_days, and that no less than pause_days")
        return self

    @property
    def retry(self) -> timedelta:
        """From one of the first tries to the next one."""
        return timedelta(minutes=self.retry_minutes)


class App(Table):
    """[apps.NAME]: an app registered at a platform, through which accounts are connected and tokens are refreshed."""

    name: str = Field(pattern=NAME, exclude=True)
    description: str = Field(default="", max_length=500, description="for people")
    enabled: bool = Field(default=True, description="false: its accounts' tokens are neither refreshed nor connected")
    platform: Label | None = Field(
        default=None, description="instagram, threads, facebook, x, tiktok, linkedin, reddit; default: its name"
    )
    client_id: str = Field(
        default="", max_length=500, description="the app's id there (TikTok: client key); to log in, it is needed"
    )
    client_secret: Annotated[SecretStr, AfterValidator(_visible)] | None = Field(
        default=None, description="the app's secret there; from the environment"
    )
    scopes: Texts = Field(default=(), max_length=50, description="what a login asks for; default: the platform's")
    base_url: Address | None = Field(default=None, description="where its API answers; default: the platform's own")
    login_url: Address | None = Field(default=None, description="where people log in; default: the platform's own")
    api_version: str | None = Field(default=None, pattern=_VERSION, description="of Meta's Graph API, such as v23.0")
    timeout: Seconds = Field(default=15, ge=1, le=25, description="seconds one question may take")
    refreshes_per_minute: Count = Field(
        default=300, ge=0, le=100_000, description="most refreshes a minute; 0: as many as there are"
    )
    refresh_minutes: Figure | None = Field(
        default=None,
        gt=0,
        le=525_600,
        description="minutes left from which on its tokens are refreshed; default: the platform's, or refresh_days",
    )

    @field_validator("client_id")
    @classmethod
    def _sendable(cls, value: str) -> str:
        if value and _VISIBLE.fullmatch(value) is None:
            raise ValueError("must be visible ASCII characters without blanks")
        return value

    @property
    def at(self) -> str:
        """The platform it belongs to."""
        return self.platform or self.name


class Connecting(BaseModel):
    """All of it."""

    model_config = {"frozen": True}

    tokens: Tokens = Field(default_factory=Tokens)
    apps: Mapping[str, App] = Field(default_factory=dict)

    def app_of(self, platform: str, name: str = "") -> App | None:
        """The app of an account: the one it names, else the one of its platform's name.

        A platform without a table has an app without id and secret: enough to refresh Instagram's and Threads' tokens.
        None: the account names one that is not there, or of another platform.
        """
        if not name:
            return self.apps.get(platform) or App(name=platform)
        found = self.apps.get(name)
        return found if found is not None and found.at == platform else None


def read(tree: Mapping[str, Any], problems: list[Problem]) -> Connecting:
    """Every table of `tree` that can be read; what is wrong is added to `problems`."""
    return Connecting(tokens=_tokens(tree.get(TOKENS, {}), problems), apps=dict(rows(tree, APPS, App, problems)))


def _tokens(written: Any, problems: list[Problem]) -> Tokens:
    if not isinstance(written, dict):
        problems.append(Problem(TOKENS, "must be a table"))
        return Tokens()
    try:
        return Tokens.model_validate(written)
    except ValidationError as error:
        problems += explain(error, (TOKENS,), known=frozenset(Tokens.model_fields))
        return Tokens()

"""The catalogue's table about what providers bill: [providers.NAME], whose bills are read, where, and by which key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from app.catalog.alerting import Table, Texts
from app.catalog.rows import rows
from app.catalog.values import NAME, Count, Figure, Label, Seconds
from app.errors import Problem

TABLE = "providers"
CURRENCY = r"^[A-Z]{3}$"

_KEY = re.compile(r"[\x21-\x7e]{1,1000}")
_ADDRESS = re.compile(r"[\x21-\x7e]{1,500}")


def _key(value: SecretStr) -> SecretStr:
    # Anything else cannot be sent, and the client's own complaint would show it.
    if _KEY.fullmatch(value.get_secret_value()) is None:
        raise ValueError("must be a key: visible ASCII characters without blanks")
    return value


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or _ADDRESS.fullmatch(value) is None or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an address such as https://api.example.com, without a user or a query")
    return value.rstrip("/")


Currency = Annotated[str, Field(pattern=CURRENCY)]
Rate = Annotated[Figure, Field(gt=0, le=1_000_000)]


class Provider(Table):
    """[providers.NAME]: an account with somebody who sells LLM calls."""

    name: str = Field(pattern=NAME, exclude=True)
    description: str = Field(default="", max_length=500, description="for people")
    enabled: bool = Field(default=True, description="false: its bill is not read")
    billing: Label = Field(description="how its bill is read: openai, anthropic, moonshot")
    key: Annotated[SecretStr, AfterValidator(_key)] = Field(
        description="a key that may read bills, which is not one for calls; from the environment"
    )
    base_url: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="where it answers; default: the provider's own address"
    )
    provider: Texts = Field(default=(), max_length=20, description="what calls name it; default: by `billing`")
    settle_days: Count = Field(default=2, ge=0, le=14, description="days after which a day's bill counts as final")
    tolerance: Figure = Field(default=0.02, ge=0, le=1, description="share by which the two may differ")
    timeout: Seconds = Field(default=20, gt=0, le=60, description="seconds one question may take")
    currency: Currency | None = Field(
        default=None, description="of amounts that do not say theirs; default: the provider's own"
    )
    rates: dict[Currency, Rate] = Field(default_factory=dict, description="dollars for one unit of another currency")


class Billing(BaseModel):
    """All of it."""

    model_config = {"frozen": True}

    providers: Mapping[str, Provider] = Field(default_factory=dict)

    @property
    def enabled(self) -> dict[str, Provider]:
        """Those whose bills are read, by name."""
        return {name: one for name, one in self.providers.items() if one.enabled}


def read(tree: Mapping[str, Any], problems: list[Problem]) -> Billing:
    """Every table of `tree` that can be read; what is wrong is added to `problems`."""
    return Billing(providers=dict(rows(tree, TABLE, Provider, problems)))

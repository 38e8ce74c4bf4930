"""The catalogue's [docker] table: where the engine is whose containers are looked at and restarted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as File
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from app.catalog.alerting import Table
from app.catalog.explain import explain
from app.catalog.values import Seconds
from app.errors import Problem

TABLE = "docker"
_HOST = re.compile(r"unix:///.+|tcp://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})/?")


class Docker(Table):
    """One Docker Engine, or a proxy before it that lets through what is needed and no more."""

    host: str = Field(
        default="unix:///var/run/docker.sock",
        description="unix:///path/of/the/socket or tcp://host:port; DOCKER_HOST is not read",
    )
    tls_ca: File | None = Field(default=None, description="PEM file of the authority of the engine's certificate")
    tls_cert: File | None = Field(default=None, description="PEM file of our certificate")
    tls_key: File | None = Field(default=None, description="PEM file of its key")
    timeout: Seconds = Field(default=10, gt=0, le=120, description="seconds the engine may take to answer")

    @field_validator("host")
    @classmethod
    def _known(cls, value: str) -> str:
        known = _HOST.fullmatch(value)
        if known is None or int(known["port"] or 1) not in range(1, 65_536):
            raise ValueError("must be unix:///path/of/the/socket or tcp://host:port")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls and self.host.startswith("unix:"):
            raise ValueError("TLS is for tcp:// hosts, not for a socket")
        return self

    @property
    def tls(self) -> bool:
        """Is the engine spoken to over TLS? It is as soon as a file of it is named."""
        return self.tls_ca is not None or self.tls_cert is not None


def read(tree: Mapping[str, Any], problems: list[Problem]) -> Docker:
    """The table of `tree`, or its defaults; what is wrong is added to `problems`."""
    try:
        return Docker.model_validate(tree.get(TABLE, {}))
    except ValidationError as error:
        problems += explain(error, (TABLE,), known=set(Docker.model_fields))
        return Docker()

"""The only reader of the environment: every setting with its default, validated once, at start.

Durations are seconds in the environment (`SMM_LEASE_SECONDS=30`). The product's files live under `home`; the addresses
of the embedded servers, when no URL is given, are read from `home/servers.json`, which `smm-admin up` writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

from app.errors import Misconfigured

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None


def resource(name: str) -> Path:
    """A file shipped with the product ("Procfile", "deploy/smm-admin.toml", "alembic"): of the checkout or wheel."""
    return (CHECKOUT or PACKAGE / "_shipped") / name


def _default_home() -> Path:
    if CHECKOUT is not None:
        return CHECKOUT / ".smm"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "smm-admin"


class Settings(BaseSettings):
    """The environment, typed. Secrets are SecretStr: printing a Settings shows none of them."""

    model_config = SettingsConfigDict(
        env_prefix="SMM_", env_file=CHECKOUT / ".env" if CHECKOUT else None, extra="ignore", populate_by_name=True
    )

    home: Path = Field(default_factory=_default_home, description="where the product keeps its files")
    catalog_file: Path = Field(
        default_factory=lambda: resource("deploy/smm-admin.toml"), description="the declarative TOML file"
    )
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="PostgreSQL 15 or newer; unset: the embedded server",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="Redis 6.2 or newer, or Valkey; unset: the embedded server",
    )
    postgres_port: int = Field(default=0, ge=0, le=65535, description="embedded PostgreSQL; 0: a free one, kept")
    redis_port: int = Field(default=0, ge=0, le=65535, description="embedded Valkey; 0: a free one, kept")
    redis_maxmemory_mb: int = Field(default=256, ge=32, description="embedded Valkey's maxmemory")
    admin_key: SecretStr | None = Field(default=None, description="bootstrap API key; unset: home/admin.key")

    process: str = Field(default="", description="this process's name in the Procfile; set by the supervisor")

    web_host: str = Field(default="127.0.0.1", description="address the API and console listen on")
    public_url: str = Field(default="", description="address people reach the console at, for links; unset: web_host")
    web_port: int = Field(default=8000, ge=1, le=65535, description="port of the API and console")
    flower_host: str = Field(default="127.0.0.1", description="address Flower listens on")
    flower_port: int = Field(default=5555, ge=1, le=65535, description="Flower's port")
    flower_read_only: bool = Field(default=True, description="no task or pool control from Flower's pages")

    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, JSON elsewhere"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe records that are written"
    )

    db_pool_size: int = Field(default=5, ge=1, description="connections kept by a web process; workers keep 2 a child")
    db_connect_timeout_seconds: int = Field(default=5, ge=1, description="longest wait for a connection to Postgres")
    db_statement_timeout_seconds: float = Field(default=60, gt=0, description="longest that one SQL statement may run")
    db_lock_timeout_seconds: float = Field(default=10, gt=0, description="longest wait of a statement for a lock")

    lease_seconds: float = Field(default=30, ge=1, description="a claimed job's lease; renewed at a third of it")
    ring_again_seconds: float = Field(default=10, ge=1, description="first wait before an unclaimed job is rung again")
    doorbells_per_queue: int = Field(default=1000, ge=1, description="messages out at once in one queue")
    job_max_attempts: int = Field(default=5, ge=1, description="tries of a job whose task names no number of its own")
    job_history_days: int = Field(default=30, ge=1, description="how long finished jobs are kept")
    signal_days: int = Field(default=90, ge=1, description="how long the timeline is kept")
    health_log_days: int = Field(default=90, ge=1, description="how long results of probes are kept")
    health_hour_days: int = Field(default=100, ge=15, description="how long each hour of availability is kept")
    health_day_days: int = Field(default=730, ge=91, description="how long each day of availability is kept")
    alert_days: int = Field(default=90, ge=1, description="how long ended alerts and what was told of them are kept")
    idempotency_hours: int = Field(default=24, ge=1, description="how long an Idempotency-Key is remembered")
    body_max_bytes: int = Field(default=4_194_304, ge=1024, description="largest request body the API reads")
    batch_max_jobs: int = Field(default=1000, ge=1, description="most jobs in one batch request")

    limits_remember_seconds: float = Field(
        default=900, ge=60, description="how long the id of a decision is known, so that a retry consumes nothing"
    )
    limit_log_days: int = Field(default=90, ge=2, description="how long closed windows of limits are kept")
    deferred_days: int = Field(default=14, ge=1, description="how long released and dropped operations are kept")
    deferred_most: int = Field(default=100_000, ge=1, description="operations of one account that may wait at a time")

    cost_days: int = Field(default=400, ge=32, description="how long single LLM calls are kept; their sums stay longer")
    cost_hour_days: int = Field(default=800, ge=62, description="how long each hour's sums of costs are kept")
    cost_sum_days: int = Field(default=2557, ge=366, description="how long each day's sums of costs are kept: 7 years")
    cost_stream_mb: int = Field(
        default=64, ge=1, description="calls that were accepted and are not in Postgres yet; beyond it, 503"
    )
    cost_batch_max: int = Field(default=10_000, ge=1, description="most LLM calls in one request")

    token_keys: SecretStr | None = Field(
        default=None,
        description='keys that tokens are encrypted with, the newest first: "ID:BASE64,ID:BASE64", of 32 bytes each',
    )
    token_keys_file: Path | None = Field(
        default=None, description="a file with such keys, one a line; unset: home/token.keys"
    )
    token_days: int = Field(default=400, ge=32, description="how long the history and the readings of tokens are kept")

    egress_allow: tuple[str, ...] = Field(
        default=(), description="CIDRs of private networks that callbacks may reach, as a JSON list"
    )
    task_modules: tuple[str, ...] = Field(
        default=(), description="importable modules with tasks of your own, JSON list"
    )
    callback_secret: SecretStr | None = Field(default=None, description="signs callbacks: HMAC-SHA256 of the body")
    deadman_url: SecretStr | None = Field(
        default=None, description="called each minute while all is well, by an outside service that misses it otherwise"
    )
    watchdog_repairs: bool = Field(
        default=True, description="false: this host's watchdog repairs nothing; of several one should"
    )
    shutdown_seconds: float = Field(default=25, gt=0, description="how long a stopping worker may finish its tasks")

    @field_validator(
        "database_url", "redis_url", "admin_key", "token_keys", "callback_secret", "deadman_url", mode="before"
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("database_url")
    @classmethod
    def _postgres_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_url(value.get_secret_value(), ("postgres", "postgresql", "postgresql+psycopg2"))
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_url(value.get_secret_value(), ("redis", "rediss", "valkey", "valkeys"))
        return value

    @property
    def external_url(self) -> str:
        """The console's address as people reach it, without a slash at its end."""
        return self.public_url.rstrip("/") or f"http://{self.web_host}:{self.web_port}"

    @property
    def run_dir(self) -> Path:
        """Heartbeats, process ids, the watchdog's state: everything that may be lost at a restart."""
        return self.home / "run"

    @property
    def servers_file(self) -> Path:
        """Addresses and passwords of the embedded servers, mode 600."""
        return self.home / "servers.json"

    def database(self) -> str:
        """SQLAlchemy URL of the database, with its password. Raises Misconfigured when there is none."""
        url = self._server_url(self.database_url, "postgres", "DATABASE_URL")
        return "postgresql+psycopg2://" + url.split("://", 1)[1]

    def redis(self) -> str:
        """redis:// URL of the broker, with its password. Raises Misconfigured when there is none."""
        url = self._server_url(self.redis_url, "redis", "REDIS_URL")
        return url.replace("valkeys://", "rediss://", 1).replace("valkey://", "redis://", 1)

    def _server_url(self, given: SecretStr | None, server: str, variable: str) -> str:
        if given is not None:
            return given.get_secret_value()
        try:
            return str(json.loads(self.servers_file.read_text())[server]["url"])
        except FileNotFoundError:
            raise Misconfigured(
                f"{variable} is not set and no embedded server is running: start `smm-admin up`"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise Misconfigured(
                f"{self.servers_file} is damaged: restart `smm-admin up`, which writes it anew"
            ) from None


def _check_url(url: str, schemes: tuple[str, ...]) -> None:
    """Refuse what is no URL of these schemes, without ever quoting it: it may hold a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is no URL, or its port is no number") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must start with one of {', '.join(f'{scheme}://' for scheme in schemes)}")
    if not parts.hostname and "host=" not in parts.query:
        raise ValueError("names no host")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once. Raises Misconfigured naming each variable that is wrong, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(item['loc'])} {item['msg']}" for item in error.errors(include_input=False))
        raise Misconfigured(f"environment: {wrong}") from None


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0])
    return name if name.isupper() else f"SMM_{name.upper()}"


def environment_names(field: str) -> tuple[str, ...]:
    """The variables that a field of Settings is read from."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices if str(choice).isupper())
    return (f"SMM_{field.upper()}",)


def variable(name: str) -> str | None:
    """A variable that the catalogue refers to: a setting's effective value, or any other of the environment or .env."""
    for field in Settings.model_fields:
        if name in environment_names(field):
            value = getattr(settings(), field)
            return value.get_secret_value() if isinstance(value, SecretStr) else None if value is None else str(value)
    return os.environ.get(name, _env_file().get(name))


@lru_cache(maxsize=1)
def _env_file() -> Mapping[str, str | None]:
    return DotEnvSettingsSource(Settings, case_sensitive=True).env_vars

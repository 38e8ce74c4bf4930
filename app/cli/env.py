"""`smm-admin env [NAME]`: addresses and credentials, for a shell and for other programs."""

from __future__ import annotations

import shlex
from urllib.parse import unquote, urlsplit

import typer

from app.config import Settings, settings
from app.errors import NotFound


def register(cli: typer.Typer) -> None:
    """Add the command to smm-admin."""
    cli.command("env")(env)


def env(name: str | None = typer.Argument(None, help="Print this value alone.")) -> None:
    """Print what other programs need to reach us, secrets included: `eval "$(smm-admin env)"`.

    Then `psql "$DATABASE_URL"`, `valkey-cli -u "$REDIS_URL"`, `redis-cli -u "$REDIS_URL"`.
    """
    found = values(settings())
    if name is None:
        for key, value in found.items():
            typer.echo(f"export {key}={shlex.quote(value)}")
        typer.echo('# psql "$DATABASE_URL"')
        typer.echo('# valkey-cli -u "$REDIS_URL"   (or redis-cli)')
        typer.echo('# curl -H "Authorization: Bearer $SMM_ADMIN_KEY" "$SMM_URL/api/v1/status"')
        return
    wanted = {key.upper(): value for key, value in found.items()}.get(name.upper())
    if wanted is None:
        raise NotFound(f"no value named {name}; there are {', '.join(found)}")
    typer.echo(wanted)


def values(config: Settings) -> dict[str, str]:
    """Every value by its name. Raises Misconfigured when no server is known yet."""
    from app.infra import adminkey  # noqa: PLC0415 - only after the URLs are known

    database = config.database().replace("postgresql+psycopg2://", "postgresql://", 1)
    parts = urlsplit(database)
    return {
        "DATABASE_URL": database,
        "REDIS_URL": config.redis(),
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
        "SMM_HOME": str(config.home.resolve()),
        "SMM_URL": f"http://{config.web_host}:{config.web_port}",
        "SMM_ADMIN_KEY": adminkey.load_or_create(config),
        "FLOWER_URL": f"http://{config.flower_host}:{config.flower_port}",
    }

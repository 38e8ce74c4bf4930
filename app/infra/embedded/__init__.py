"""Servers of our own when no URL is given: a real PostgreSQL 18 and a real Valkey 9, as ordinary child processes.

Passwords everywhere, loopback only, data under `home`. A server is spawned, then asked until it is ready: the
supervisor does that between its other duties, `started` does it in one call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from app.config import Settings
from app.errors import Misconfigured
from app.infra.embedded.postgres import Postgres
from app.infra.embedded.server import Server, State, start, stop
from app.infra.embedded.valkey import Valkey
from app.infra.files import write_private_json

__all__ = ["Server", "State", "publish", "servers", "start", "started", "stop", "withdraw"]


def servers(config: Settings) -> list[Server]:
    """The servers this installation needs of its own: those whose URL is not set."""
    wanted: list[Server] = []
    if config.database_url is None:
        wanted.append(Postgres(config))
    if config.redis_url is None:
        wanted.append(Valkey(config))
    return wanted


def publish(config: Settings, running: Sequence[Server]) -> None:
    """Write `home/servers.json`, from which every process of this installation reads its URLs."""
    write_private_json(config.servers_file, {one.name: {"url": one.url, "pid": one.pid} for one in running})


def withdraw(config: Settings) -> None:
    """Remove `home/servers.json`: nothing answers there any more."""
    config.servers_file.unlink(missing_ok=True)


@contextlib.contextmanager
def started(config: Settings) -> Iterator[dict[str, str]]:
    """Run the servers for the length of the block; yields each one's URL by its name ("postgres", "redis").

    Raises Misconfigured when one cannot start, with what to do.
    """
    running = servers(config)
    try:
        try:
            start(running)
            publish(config, running)
        except OSError as error:
            raise Misconfigured(f"embedded servers: {error}") from error
        yield {one.name: one.url for one in running}
    finally:
        stop(running)
        withdraw(config)

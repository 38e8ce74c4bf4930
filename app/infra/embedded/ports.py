"""TCP ports on loopback: which are free, who holds one, and the ones kept from the last start."""

from __future__ import annotations

import contextlib
import errno
import json
import random
import socket
from pathlib import Path

import psutil

from app.errors import Misconfigured
from app.infra.files import write_private_json

# Below Linux's and macOS's ephemeral ranges: a port chosen there could be taken by an outgoing connection while its
# server is down for a restart.
_FIRST, _LAST = 20_000, 32_000


def is_free(port: int, *, host: str = "127.0.0.1") -> bool:
    """Could a server listen on `port` now? Connections still in TIME_WAIT do not count: servers reuse the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def holder(port: int) -> str:
    """Who listens on `port`, for a message: "held by python3 (process 4711)", or as much as we may know."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listening = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listening and connection.pid is not None:
                return f"held by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return "held by another program"


def choose(name: str, *, wanted: int, variable: str, kept: Path) -> int:
    """The port for server `name`: `wanted` when not 0, else last time's when free, else a free one, which is kept.

    Raises Misconfigured, naming `variable`, when `wanted` is taken.
    """
    if wanted:
        if not is_free(wanted):
            raise Misconfigured(f"port {wanted} is {holder(wanted)}: stop it, or set {variable} to another port")
        return wanted
    known = _read(kept)
    last = known.get(name)
    if last and is_free(last):
        return last
    port = _any_free(avoid=set(known.values()))
    write_private_json(kept, {**known, name: port})
    return port


def _read(kept: Path) -> dict[str, int]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        known = json.loads(kept.read_text())
        if isinstance(known, dict):
            return {str(name): port for name, port in known.items() if isinstance(port, int) and 0 < port < 65536}
    return {}


def _any_free(*, avoid: set[int]) -> int:
    for _ in range(200):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - spreading out, not hiding
        if port not in avoid and is_free(port):
            return port
    raise Misconfigured(f"no free TCP port between {_FIRST} and {_LAST}: set SMM_POSTGRES_PORT and SMM_REDIS_PORT")

"""`python -m app.web`: the API and the console, in one process."""

from __future__ import annotations

import errno
import gc
import signal
import socket
import sys
from types import FrameType

import uvicorn

from app.config import Settings, settings
from app.errors import Misconfigured
from app.infra import db, dbwait, logging, pool_size

KEEP_ALIVE_SECONDS = 15
GRACEFUL_SECONDS = 10
CONNECTIONS = 1000
"""Beyond this many at once a request is answered 503 unread."""
DATABASE_SECONDS = 20.0
"""A request that waits longer for one answer of Postgres is answered 503."""
HEADER_BYTES = 32_768
"""Most bytes of request line and headers together."""


def listen(config: Settings) -> socket.socket:
    """A bound socket. Raises Misconfigured naming the variable to change."""
    where = f"{config.web_host}:{config.web_port}"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            config.web_host, config.web_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise Misconfigured(f"SMM_WEB_HOST={config.web_host}: {error.strerror}") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Misconfigured(f"{where} is in use: stop what listens there, or set SMM_WEB_PORT") from None
        if error.errno in (errno.EACCES, errno.EADDRNOTAVAIL):
            raise Misconfigured(f"{where}: {error.strerror}: set SMM_WEB_HOST or SMM_WEB_PORT") from None
        raise
    return listener


def main() -> int:
    """Serve until SIGTERM or SIGINT; requests under way have ten seconds. 2 when the installation is misconfigured."""
    try:
        config = settings()
        logging.configure("web", config)
        listener = listen(config)
        from app.web.main import create_app  # noqa: PLC0415  after the port is ours: a second start fails at once

        dbwait.bound_waits(DATABASE_SECONDS)
        db.present_as(pool_size.SESSIONS)
        app = create_app()
        gc.freeze()
    except Misconfigured as error:
        sys.stderr.write(f"web: {error}\n")
        return 2
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
    )
    _end_quietly(server)
    server.run(sockets=[listener])
    return 0


def _end_quietly(server: uvicorn.Server) -> None:
    """uvicorn raises the signal that ended it once more when all is done: to die of it would look like a crash."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


if __name__ == "__main__":
    sys.exit(main())

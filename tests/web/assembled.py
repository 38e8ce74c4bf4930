"""The real application, put together quicker than a process does it, and served by this process to who needs a port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import uvicorn
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from tests.fixtures.waiting import until


class Assembled(FastAPI):
    """Keeps what it found out about each router for the next one: that costs more than most tests do.

    Tests of `create_app` itself, and every process of the product, do without.
    """

    known: ClassVar[list[tuple[APIRouter, list[BaseRoute]]]] = []

    def include_router(self, router: APIRouter, **how: Any) -> None:
        routes = next((routes for known, routes in self.known if known is router), None)
        if routes is None:
            before = len(self.router.routes)
            super().include_router(router, **how)
            self.known.append((router, self.router.routes[before:]))
        else:
            super().include_router(APIRouter(lifespan=router.lifespan_context))  # only what starts and ends with it
            self.router.routes.extend(routes)


@contextmanager
def served(app: FastAPI) -> Iterator[int]:
    """The port on which the application answers for the length of the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, http="h11", ws="none", lifespan="on", log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started, what="the application answers")
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()

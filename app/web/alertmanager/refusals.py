"""How Alertmanager says no: the reasons as one JSON string."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from app.errors import Invalid
from app.web.deps import authenticate

MOST = 100
"""Reasons that one answer names."""


REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"description": "What is wrong, as a JSON string", "content": {"application/json": {}}},
}
"""For the OpenAPI document."""


class Refused(Invalid):
    """A query that cannot be read. Other things that are invalid, such as the catalogue, are not its sender's fault."""


class Route(APIRoute):
    """An endpoint whose bad queries are answered as Alertmanager does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual handler, with Refused made into a 400."""
        usual = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await usual(request)
            except Refused as error:
                return refused([str(problem) for problem in error.problems])

        return handler


def endpoints() -> APIRouter:
    """For endpoints below /api/v2 that ask for the key. They know their whole path: the metrics count by it."""
    return APIRouter(prefix="/api/v2", route_class=Route, dependencies=[Depends(authenticate)], responses=REFUSED)


def refused(reasons: Sequence[str], status: int = 400) -> JSONResponse:
    """The reasons, one after the other."""
    left = len(reasons) - MOST
    told = list(reasons) if left <= 0 else [*reasons[:MOST], f"and {left} more"]
    return JSONResponse("; ".join(told), status)

"""Counts every HTTP request and its time by the route's template, never by its path: paths carry ids."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import clock
from app.infra import metrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNANSWERED = "500"
API = "/api/v1"


class MetricsMiddleware:
    """Pure ASGI, so that streamed answers and background tasks pass through untouched. Belongs outermost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; an exception is counted as a 500 and raised."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = _UNANSWERED
        started = clock.monotonic()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            labels = {"method": _method(scope), "route": template_of(scope)}
            metrics.HTTP_REQUESTS.inc(**labels, status=status)
            metrics.HTTP_SECONDS.observe(clock.monotonic() - started, **labels)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def template_of(scope: Scope) -> str:
    """The path of the route that was taken, as the OpenAPI document writes it."""
    template: str = getattr(scope.get("route"), "path", "unmatched")
    # A router that was included under a prefix gives its route's own part only.
    if scope["path"].startswith(f"{API}/") and template != "unmatched" and not template.startswith("/api/"):
        return API + template
    return template

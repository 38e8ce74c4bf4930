"""The web application put together: API, health, metrics, console. Starts without touching Postgres or Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from app import __version__
from app.admission import metrics as mode_metrics
from app.alerts import metrics as alert_metrics
from app.config import settings
from app.costs import metrics as cost_metrics
from app.health import metrics as health_metrics
from app.infra import adminkey, db, metrics, pool_size
from app.jobs import metrics as engine_metrics
from app.limits import metrics as limit_metrics
from app.tokens import metrics as token_metrics
from app.web import alertmanager, errors
from app.web.api import (
    admissions,
    alerts,
    availability,
    budgets,
    cost_reports,
    costs,
    costs_bills,
    costs_calls,
    costs_set_aside,
    engine,
    forecasts,
    health,
    jobs,
    keys,
    limits,
    modes,
    notifications,
    oncall,
    pauses,
    prices,
    recovery,
    schemas,
    silences,
    timeline,
    token_banners,
    token_reading,
    token_reports,
    tokens,
)
from app.web.connect import pages as connect_pages
from app.web.console import cost_report_page, costs_pages, details, limits_pages, pages, tokens_pages
from app.web.deps import authenticate
from app.web.limited import Limited
from app.web.links import pages as link_pages
from app.web.metrics_middleware import MetricsMiddleware
from app.web.middleware import BodyLimit, RequestContext
from app.web.overview import Overviews
from tasks.celery import compose

DESCRIPTION = """Health, jobs and the engine of the stack. Everything under `/api/` asks for a key:
`Authorization: Bearer KEY` or `X-API-Key: KEY`. Errors are `application/problem+json` (RFC 9457)."""


def create_app(*, warmed: bool = True) -> FastAPI:
    """The application. Raises Misconfigured when the environment is wrong or the admin key cannot be kept.

    `warmed`: what the status page shows is read once when it starts, before anybody asks.
    """
    config = settings()
    compose()
    adminkey.load_or_create(config)
    metrics.register_collector(engine_metrics.ledger, source="postgres")
    metrics.register_collector(engine_metrics.wire, source="redis")
    metrics.register_collector(health_metrics.services, source="postgres")
    metrics.register_collector(health_metrics.availability, source="postgres")
    metrics.register_collector(health_metrics.catalogue, source="process")
    metrics.register_collector(alert_metrics.alerts, source="postgres")
    metrics.register_collector(mode_metrics.modes, source="postgres")
    metrics.register_collector(mode_metrics.deferred, source="postgres")
    metrics.register_collector(limit_metrics.windows, source="postgres")
    metrics.register_collector(limit_metrics.upkeep, source="redis")
    metrics.register_collector(cost_metrics.waiting, source="redis")
    metrics.register_collector(cost_metrics.set_aside, source="postgres")
    metrics.register_collector(token_metrics.tokens, source="postgres")
    app = FastAPI(
        title="smm-admin",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.overviews, app.state.warmed = Overviews(config), warmed
    app.include_router(_api())
    app.include_router(health.router)
    app.include_router(pages.router)
    app.include_router(details.router)
    app.include_router(limits_pages.router)
    app.include_router(tokens_pages.router)
    app.include_router(costs_pages.router)
    app.include_router(cost_report_page.router)
    app.include_router(link_pages.router)
    app.include_router(connect_pages.router)
    alertmanager.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    errors.install(app)
    app.add_middleware(BodyLimit, max_bytes=config.body_max_bytes, larger=costs_calls.largest(config))
    app.add_middleware(Limited)
    app.add_middleware(RequestContext)
    app.add_middleware(MetricsMiddleware)
    return app


@cache
def _api() -> APIRouter:
    """Everything that asks for a key, put together once in a process."""
    api = APIRouter(prefix="/api/v1", dependencies=[Depends(authenticate)], responses=_PROBLEMS)
    watching = (health.api, availability.router, modes.router, recovery.router)
    alerting = (alerts.router, silences.router, oncall.router, notifications.router)
    limiting = (limits.router, pauses.router)
    spending = (
        budgets.router,
        costs.router,
        costs_bills.router,
        costs_set_aside.router,
        forecasts.router,
        prices.router,
        cost_reports.router,
    )
    # Routes are tried in order: those that are asked all day come first.
    busy = (costs_calls.router, admissions.router, token_reading.router)
    plain = (jobs.router, engine.router, keys.router, timeline.router)
    # /tokens/{platform}/{account} would hide others' paths.
    of_names = (token_reports.router, token_banners.router, tokens.router)
    for router in (*busy, *plain, *watching, *limiting, *spending, *alerting, *of_names):
        api.include_router(router)
    return api


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    metrics.start_flusher()
    follower = pool_size.Follower()
    follower.start()
    warming = asyncio.create_task(app.state.overviews.current()) if app.state.warmed else None
    try:
        yield
    finally:
        if warming is not None:
            warming.cancel()
        follower.stop()
        metrics.stop_flusher()
        app.state.overviews.close()
        db.dispose()


_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No key, or an unknown one", "content": _PROBLEM_CONTENT},
    403: {"description": "The key lacks a scope, or is no admin's", "content": _PROBLEM_CONTENT},
    422: {"description": "Input not valid; `errors` names each field", "content": _PROBLEM_CONTENT},
    429: {"description": "Too many requests; `Retry-After` says when to repeat", "content": _PROBLEM_CONTENT},
    503: {"description": "A dependency is in trouble; `Retry-After` says when to repeat", "content": _PROBLEM_CONTENT},
}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document plus the bodies that it cannot see, made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        known = document.setdefault("components", {}).setdefault("schemas", {})
        for path in document["paths"].values():
            for operation in path.values():
                if "422" in operation["responses"]:
                    operation["responses"]["422"] = _PROBLEMS[422]
        for unused in ("HTTPValidationError", "ValidationError"):
            known.pop(unused, None)
        known.update(schemas.components())
        app.openapi_schema = document
    return app.openapi_schema

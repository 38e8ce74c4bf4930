"""Is an n8n server healthy and ready, and what do its workflows do.

With an API key the workflows are counted, and the executions that failed lately; without one, or where the version has
no such endpoint, those readings are missing. A key that is refused degrades it: n8n itself is well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from app import clock
from app.health.probes import _http
from app.health.probing import Defaults, Outcome, Target, failed
from app.health.results import Threshold

KIND = "n8n"
SUMMARY = "an n8n server is healthy and its database ready; workflows known and active, executions that failed"
DEFAULTS = Defaults()
READINGS = {
    "latency_ms": "time of the health answer",
    "workflows": "workflows there are, as far as they are counted",
    "active": "those of them that are active",
    "failed_executions": "executions that failed within failed_minutes, as far as they are counted",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {
    "refused": "Start n8n; its own log says why it stopped.",
    "timeout": "n8n accepts connections but does not answer in time: look at its load and its database.",
    "status": "n8n answers with an error: read its own log.",
    "not_ready": "n8n runs but its database is not connected or not migrated: look at the database first.",
    "key": "Make a new API key in n8n's settings and put it into the catalogue.",
    "failed_executions": "Open n8n's list of executions, filtered by error; the failing node says why.",
}
_WORKFLOWS, _EXECUTIONS = 50, 100
"""Items a page: a workflow is told with all its nodes."""


class Options(_http.Address):
    """Which server."""

    api_key: _http.HeaderSecret | None = Field(default=None, description="sent as X-N8N-API-KEY; never shown")
    failed_minutes: float = Field(default=60, gt=0, le=10_080, description="how far back failed executions are counted")
    max_workflows: int = Field(default=500, ge=1, le=10_000, description="so many workflows are counted at most")
    max_executions: int = Field(default=500, ge=1, le=10_000, description="so many executions are counted at most")


def probe(target: Target, options: Options) -> Outcome:
    """The health endpoints decide whether it is up; the rest is read in what time is left."""
    headers = {"X-N8N-API-KEY": options.api_key.get_secret_value()} if options.api_key else {}
    try:
        with _http.asking(target, options, headers) as asking:
            healthy = asking.get("/healthz")
            if not healthy.ok:
                return failed("status", f"answered {healthy.status} to whether it is healthy")
            ready = asking.get("/healthz/readiness")
            if not ready.ok and ready.status != 404:
                return failed("not_ready", f"answered {ready.status} to whether its database is ready")
            if options.api_key is None:
                return Outcome({}, healthy.latency_ms)
            return _read(asking, options, target, healthy)
    except _http.TROUBLES as error:
        return _http.failure(error, target.timeout_seconds)


def _read(asking: _http.Asking, options: Options, target: Target, healthy: _http.Answer) -> Outcome:
    readings: dict[str, object] = {}
    degraded = None
    try:
        _count_workflows(asking, options, readings)
        _count_failed(asking, options, readings)
    except _Refused:
        degraded = "the API key is refused"
    except _http.TROUBLES as error:
        degraded = f"healthy, but its workflows cannot be read: {_http.describe(error, target.timeout_seconds).text}"
    return Outcome(readings, healthy.latency_ms, degraded=degraded)


def _count_workflows(asking: _http.Asking, options: Options, readings: dict[str, object]) -> None:
    found = _pages(asking, "/api/v1/workflows", {}, size=_WORKFLOWS, limit=options.max_workflows)
    if found is not None:
        workflows = list(found)
        readings |= {"workflows": len(workflows), "active": sum(item.get("active") is True for item in workflows)}


def _count_failed(asking: _http.Asking, options: Options, readings: dict[str, object]) -> None:
    """The newest come first."""
    since = clock.now() - timedelta(minutes=options.failed_minutes)
    query = {"status": "error"}
    found = _pages(asking, "/api/v1/executions", query, size=_EXECUTIONS, limit=options.max_executions)
    if found is None:
        return
    count = 0
    for item in found:
        ended = _moment(item.get("stoppedAt")) or _moment(item.get("startedAt"))
        if ended is not None and ended < since:
            break
        count += 1
    readings["failed_executions"] = count


class _Refused(Exception):
    """The key is not accepted."""


def _pages(
    asking: _http.Asking, path: str, query: Mapping[str, str], *, size: int, limit: int
) -> Iterator[dict[str, Any]] | None:
    """At most `limit` items, page after page; None where the version has no such list. Raises _Refused."""
    first = _page(asking, path, {**query, "limit": str(min(size, limit))})
    return None if first is None else _following(asking, path, query, first, size=size, limit=limit)


def _following(
    asking: _http.Asking, path: str, query: Mapping[str, str], page: dict[str, Any], *, size: int, limit: int
) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    while True:
        for item in page["data"]:
            if limit == 0:
                return
            limit -= 1
            yield item if isinstance(item, dict) else {}
        cursor = page.get("nextCursor")
        if limit == 0 or not isinstance(cursor, str) or not cursor or cursor in seen:
            return
        seen.add(cursor)
        following = _page(asking, path, {**query, "limit": str(min(size, limit)), "cursor": cursor})
        if following is None:
            return
        page = following


def _page(asking: _http.Asking, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
    answer = asking.get(path, query)
    if answer.refused:
        raise _Refused
    document = answer.document() if answer.ok else None
    return document if isinstance(document, dict) and isinstance(document.get("data"), list) else None


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None

"""Is a Qdrant server ready, and what does it hold: collections, vectors, how its optimizers fare.

Qdrant has come in many versions: an endpoint or a field that one lacks costs its reading and nothing more. Whether
it is ready is asked without regard to the key; a key that is refused, or details that come too late, degrade it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import Field

from app.health.probes import _http
from app.health.probing import Defaults, Outcome, Target, failed
from app.health.results import Threshold

KIND = "qdrant"
SUMMARY = "a Qdrant server is ready; collections, vectors, the worst collection's status, size on disk"
DEFAULTS = Defaults(interval_seconds=30, timeout_seconds=5)
READINGS = {
    "latency_ms": "time of the readiness answer",
    "collections": "collections there are",
    "vectors": "vectors in all of them",
    "indexed_vectors": "those that an index finds",
    "disk_mb": "size of the collections' segments, where the server tells it",
    "yellow_collections": "collections that are being optimized (yellow), or wait for it (grey)",
    "red_collections": "collections of which an operation failed for good",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {
    "refused": "Start Qdrant; its own log says why it stopped.",
    "timeout": "Qdrant accepts connections but does not answer in time: look at its load and its disk.",
    "not_ready": "Qdrant runs but does not serve yet: it loads its collections, or its cluster is not complete.",
    "auth": "Something before Qdrant asks for a login: correct the address or the key in the catalogue.",
    "collection_status": "Read Qdrant's log about the red collection: its disk, its memory, then recover a snapshot.",
    "key": "Correct api_key in the catalogue: without it the readings are missing.",
}
_RANKING = ("green", "yellow", "grey", "red")
_TOTAL = re.compile(rb"^\w*collections_vector_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)
_SIZES = ("vectors_size_bytes", "payloads_size_bytes")
_MB = 1024**2


class Options(_http.Address):
    """Which server."""

    api_key: _http.HeaderSecret | None = Field(default=None, description="sent as api-key; never shown")
    max_collections: int = Field(default=20, ge=1, le=500, description="of at most so many the status is read")


def probe(target: Target, options: Options) -> Outcome:
    """Readiness decides whether it is up; what it holds is read in what time is left."""
    headers = {"api-key": options.api_key.get_secret_value()} if options.api_key else {}
    try:
        with _http.asking(target, options, headers) as asking:
            ready = _ready(asking)
            if ready.refused:
                return failed("auth", f"answered {ready.status} to whether it is ready")
            if not ready.ok:
                return failed("not_ready", f"answered {ready.status} to whether it is ready")
            return _read(asking, options, target, ready)
    except _http.TROUBLES as error:
        return _http.failure(error, target.timeout_seconds)


def _ready(asking: _http.Asking) -> _http.Answer:
    """The first of three endpoints that the version has; the root has always been there."""
    for path in ("/readyz", "/healthz"):
        answer = asking.get(path)
        if answer.status != 404:
            return answer
    root = asking.get("/")
    return root if "version" in _dict(root.document()) else answer


def _read(asking: _http.Asking, options: Options, target: Target, ready: _http.Answer) -> Outcome:
    readings: dict[str, object] = {}
    try:
        degraded = "; ".join(_details(asking, options, readings)) or None
    except _http.TROUBLES as error:
        degraded = f"ready, but its details cannot be read: {_http.describe(error, target.timeout_seconds).text}"
    return Outcome(readings, ready.latency_ms, degraded=degraded)


def _details(asking: _http.Asking, options: Options, readings: dict[str, object]) -> Iterator[str]:
    """Fill `readings` as far as it goes; what is bad about them."""
    version = _dict(asking.get("/").document()).get("version")
    if isinstance(version, str):
        readings["version"] = version
    listed = asking.get("/collections")
    if listed.refused:
        yield "the API key is refused"
        return
    names = [name for item in _list(_result(listed).get("collections")) if (name := _dict(item).get("name"))]
    if listed.ok:
        readings["collections"] = len(names)
    found = {
        name: _result(asking.get(f"/collections/{quote(str(name), safe='')}"))
        for name in names[: options.max_collections]
    }
    readings |= _totals(found.values(), complete=len(found) == len(names))
    if len(found) < len(names) and (total := _TOTAL.search(asking.get("/metrics").body)):
        readings["vectors"] = int(float(total[1]))
    readings |= _statuses(found)
    red = sorted(str(name) for name, info in found.items() if info.get("status") == "red")
    if red:
        yield f"collection_status is red: {', '.join(red[:5])}{' and more' if len(red) > 5 else ''}"
    if names and len(found) == len(names):
        readings |= _disk(asking)


def _totals(found: Iterable[Mapping[str, Any]], *, complete: bool) -> dict[str, object]:
    if not complete:
        return {}
    infos = list(found)
    vectors = [_count(info.get("points_count")) or _count(info.get("vectors_count")) for info in infos]
    indexed = [info["indexed_vectors_count"] for info in infos if _count(info.get("indexed_vectors_count")) is not None]
    totals: dict[str, object] = {"vectors": sum(count or 0 for count in vectors)}
    return totals | ({"indexed_vectors": sum(indexed)} if len(indexed) == len(infos) else {})


def _statuses(found: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    statuses = [str(info["status"]) for info in found.values() if info.get("status") in _RANKING]
    if not statuses:
        return {}
    return {
        "collection_status": max(statuses, key=_RANKING.index),
        "yellow_collections": sum(status in ("yellow", "grey") for status in statuses),
        "red_collections": statuses.count("red"),
    }


def _disk(asking: _http.Asking) -> dict[str, object]:
    """The sum over all segments of what telemetry says, in the words of its version; none where it says nothing."""
    telemetry = asking.get("/telemetry", {"details_level": "10"})
    segments = list(_segments(_result(telemetry).get("collections"))) if telemetry.ok else []
    used = sum(_count(segment.get("disk_usage_bytes")) or 0 for segment in segments)
    held = sum(_count(segment.get(name)) or 0 for segment in segments for name in _SIZES)
    return {"disk_mb": round((used or held) / _MB, 1)} if used or held else {}


def _segments(tree: object, depth: int = 12) -> Iterator[dict[str, Any]]:
    """Every table below `tree` that speaks of a segment's size."""
    if depth == 0:
        return
    if isinstance(tree, dict):
        if "disk_usage_bytes" in tree or any(name in tree for name in _SIZES):
            yield tree
            return
        for value in tree.values():
            yield from _segments(value, depth - 1)
    elif isinstance(tree, list):
        for value in tree:
            yield from _segments(value, depth - 1)


def _result(answer: _http.Answer) -> dict[str, Any]:
    return _dict(_dict(answer.document()).get("result")) if answer.ok else {}


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None

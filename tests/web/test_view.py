"""The status page's words: pure, from a document to what is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.infra.plain import plain
from app.infra.words import ago, duration
from app.web import reference
from app.web.console import view
from app.web.overview import Overview

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "kind": "http", "since": "2026-03-01T11:57:00.000Z", "latency_ms": 12.0, **more}


def page(services: dict[str, dict[str, Any]], status: str = "degraded", **more: Any) -> view.Page:
    document = {"timestamp": plain(NOW), "status": status, "services": services, "notices": []}
    return view.page(Overview(document, **more), NOW, {"http": ("status_code", "size_mb")})


def test_trouble_comes_first_and_essential_before_the_rest() -> None:
    services = {
        "a": entry("up"),
        "b": entry("up", essential=True),
        "c": entry("unknown"),
        "d": entry("degraded"),
        "e": entry("down"),
    }
    shown = page(services)
    assert [row.name for row in shown.services] == ["e", "d", "c", "b", "a"]
    assert shown.summary == "2 of 5 services are up; e is down; d is degraded; c is not known"
    assert len({row.glyph for row in shown.services}) == 4


def test_many_in_trouble_are_counted_not_listed() -> None:
    shown = page({f"s{number}": entry("down") for number in range(7)})
    assert shown.summary == "0 of 7 services are up; s0, s1, s2, s3 and 3 more are down"


@pytest.mark.parametrize("status", ["healthy", "degraded", "unhealthy", "unknown", "something new"])
def test_every_state_has_a_headline_and_a_sign(status: str) -> None:
    shown = page({}, status)
    assert shown.headline
    assert shown.glyph


def test_readings_are_named_ordered_and_carry_their_units() -> None:
    given = entry(
        "up", version="9.1", size_mb=1234.5, size_percent=2.0, status_code=200, alive=["x"], tls=None, ok=True
    )
    assert view.readings(given, ("status_code", "size_mb")) == (
        ("status code", "200"),
        ("size", "1,234.5 MB, 2 %"),
        ("version", "9.1"),
        ("ok", "yes"),
    )


def test_the_reason_does_not_repeat_what_stands_beside_it() -> None:
    row = page({"a": entry("down", issue="down since 2026-03-01T11:57:00.000Z: connection refused")}).services[0]
    assert (row.why, row.since.text) == ("connection refused", "3 min ago")


def test_queues_without_postgres_are_what_the_probe_saw() -> None:
    seen = {"tick": {"depth": 3, "oldest_seconds": 2.0, "workers": 1}}
    shown = page({"workers": entry("up", kind="celery", queues=seen, alive=["tick@a"])})
    assert not shown.complete
    assert [(row.name, row.messages, row.waiting, row.workers) for row in shown.queues] == [("tick", "3", "-", "1")]
    assert shown.workers == ("tick@a",)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0123, "12 ms"),
        (12.34, "12.3 s"),
        (250, "4 min 10 s"),
        (11_000, "3 h 3 min"),
        (187_000, "2 d 3 h"),
    ],
)
def test_durations_are_words(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s ago"), (90, "90 s ago"), (7200, "2 h ago"), (400_000, "4 d ago")]
)
def test_moments_are_words(seconds: float, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text
    assert ago(None, NOW) == "-"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer, 1 to 9"),
        ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}, "string (uuid) or null"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/JobRequest"}}, "list of JobRequest"),
        ({"enum": ["a", "b"]}, "a, b"),
        ({}, "any"),
    ],
)
def test_schemas_are_words(schema: dict[str, Any], words: str) -> None:
    assert reference.type_of(schema) == words

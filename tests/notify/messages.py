"""Messages as the pipeline makes them, and as nobody should."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from app.notify import AlertLine, Delivery, Event, Link, Message

AT = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
THREAD = hashlib.sha256(b"a group").hexdigest()

ALERT = AlertLine(
    fingerprint="00000000000000aa",
    name="SMM_DatabaseConnectionFailure",
    status="firing",
    severity="critical",
    summary="Postgres refuses connections",
    labels={"alertname": "SMM_DatabaseConnectionFailure", "service": "postgres"},
    annotations={"summary": "Postgres refuses connections"},
    starts_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)
FIRST = Message(
    key="n-1",
    thread=THREAD,
    event=Event.FIRING,
    severity="critical",
    title="postgres is down",
    summary="Postgres refuses connections",
    at=AT,
    receiver="database",
    firing=1,
    note="Nobody acknowledged for 30 minutes.",
    fields=(("Service", "postgres"), ("Since", "5 s")),
    paragraphs=(("Impact", "Nothing can be stored."), ("Recommendation", "Start it.\nThen look at its log.")),
    links=(Link("Acknowledge", "https://ops.example.com/a/1?t=x&y=z"), Link("Runbook", "https://ops.example.com/r")),
    alerts=(ALERT,),
    group_key='{}:{service="postgres"}',
    group_labels={"service": "postgres"},
    common_labels={"alertname": "SMM_DatabaseConnectionFailure", "service": "postgres", "team": "database"},
    common_annotations={"summary": "Postgres refuses connections"},
    external_url="https://ops.example.com",
)


def message(**changes: Any) -> Message:
    """The first message with changes."""
    return replace(FIRST, **changes)


def delivery(given: Message = FIRST, **fields: Any) -> Delivery:
    """One try to send it."""
    return Delivery(given, **fields)


def _filled(text: str, **changes: Any) -> Message:
    """`text` wherever others can write."""
    alert = replace(ALERT, name=text, summary=text, labels={text: text}, annotations={text: text})
    common = {text: text, "service": text, "alertname": text, "team": text}
    given: dict[str, Any] = {
        "title": text,
        "summary": text,
        "note": text,
        "receiver": text,
        "severity": text,
        "fields": ((text, text),) * 40,
        "paragraphs": ((text, text),) * 30,
        "links": (Link(text, "https://ops.example.com/a"),) * 20,
        "alerts": (alert,) * 50,
        "firing": 60,
        "group_key": text,
        "group_labels": common,
        "common_labels": common,
        "common_annotations": common,
    }
    return message(**given | changes)


HEBREW = "שלום עולם "
HOSTILE = {
    "100 kB": _filled("x" * 100_000),
    "100 kB of words": _filled("lorem ipsum " * 8_000),
    "100 kB of lines": _filled("a\n" * 50_000),
    "100 kB to be escaped": _filled("<&>\"'*_`|[](){}#-\\" * 6_000),
    "100 kB of emoji": _filled("🔥" * 25_000),
    "100 kB in many labels": message(common_labels={f"label{n}": "v" * 500 for n in range(200)}, fields=(("a", "b"),)),
    "HTML": _filled("<script>alert(1)</script><img src=x onerror='alert(1)'>&lt;"),
    "mentions": _filled("@everyone @here <!channel> <@U123> <https://evil.test|click> [x](https://evil.test) /me"),
    "right to left": _filled(HEBREW + "مرحبا"),
    "overrides": _filled("abc\u202edcba\u2066x\u2069\u202c"),
    "controls": _filled("a\x00b\x07c\x1b[31md\x85e\u2028f\r\ng\th\x7f"),
    "lone surrogates": _filled("a\ud800b\udfffc"),
    "families": _filled("👨‍👩‍👧‍👦" * 2_000),
    "nothing at all": message(
        title="", summary="", note="", fields=(), paragraphs=(), links=(), alerts=(), receiver="", severity="",
        common_labels={}, common_annotations={}, group_labels={}, external_url="", firing=0,
    ),
    "spaces": _filled(" \n\t "),
    "bad links": message(
        links=(Link("x", "javascript:alert(1)"), Link("y", "https://ok.test/a b\"<>|)"), Link("z", ""))
    ),
}  # fmt: skip
"""What must be sent properly all the same, by what is wrong with it."""

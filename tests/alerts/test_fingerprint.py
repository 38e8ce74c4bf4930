"""The fingerprint is Alertmanager's own."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.alerts.fingerprint import fingerprint

LABELS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"alertname": "PlatformDown"}, "75aca7ed940e8891"),
        (
            {"alertname": "PlatformDown", "platform": "instagram", "severity": "critical", "team": "connectors"},
            "d53b8a7916a2770f",
        ),
        ({"alertname": "Grüße", "b": "日本語", "a": "x y", "emoji": "🚨"}, "271c4eb8d98b72fe"),
        ({"A": "1", "_b": "2", "a": "3", "z": '"quoted" \\ and\nline'}, "4d2c8d393334847f"),
        (
            {
                "alertname": "QueueBackingUp",
                "instance": "host-1:9100",
                "job": "node",
                "queue": "bulk",
                "severity": "warning",
            },
            "0bd9d75f9fb09153",
        ),
        ({"ab": "c"}, "20ba9b3025a8b421"),
        ({"a": "bc"}, "a0a3542c19b900ab"),
        ({}, "cbf29ce484222325"),
    ],
)
def test_it_is_what_alertmanager_0_25_answered(labels: dict[str, str], expected: str) -> None:
    assert fingerprint(labels) == expected
    assert fingerprint(dict(reversed(labels.items()))) == expected


@given(LABELS, LABELS)
def test_other_labels_have_another_fingerprint(one: dict[str, str], other: dict[str, str]) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


@given(st.text(min_size=1, max_size=5), st.text(max_size=5))
def test_a_character_moved_from_a_name_to_its_value_makes_another_alert(name: str, value: str) -> None:
    moved = {name[:-1]: name[-1] + value}
    assume(moved != {name: value})
    assert fingerprint({name: value}) != fingerprint(moved)


def test_text_that_is_no_unicode_has_one_too() -> None:
    assert len(fingerprint({"a": "\ud800"})) == 16


def test_ten_thousand_alerts_take_well_under_a_second() -> None:
    alerts = [
        {"alertname": "Storm", "instance": f"host-{n}:9100", "job": "node", "cluster": "eu-1", "severity": "warning"}
        for n in range(10_000)
    ]
    started = time.perf_counter()
    assert len({fingerprint(labels) for labels in alerts}) == 10_000
    assert time.perf_counter() - started < 1

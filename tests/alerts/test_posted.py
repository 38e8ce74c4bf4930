"""What is wrong with a posted alert, in Alertmanager's words, and what a good one says."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts import posted
from app.alerts.posted import Posted

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)
GOOD: dict[str, Any] = {"labels": {"alertname": "Trouble"}}


def fault(alert: Any) -> str | None:
    return posted.faults([alert], NOW, FIVE_MINUTES).get(0)


def one(alert: dict[str, Any]) -> Posted:
    assert fault(alert) is None
    return next(posted.read([alert], received_at=NOW, resolve_after=FIVE_MINUTES, source="api"))


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        ({"labels": {}}, "at least one label pair required"),
        ({"labels": {"a": ""}}, "at least one label pair required"),
        ({"labels": {"a-b": ""}}, "at least one label pair required"),
        ({"labels": {"a-b": "x"}}, 'invalid label set: invalid name "a-b"'),
        ({"labels": {"": "x"}}, 'invalid label set: invalid name ""'),
        ({"labels": {"1a": "x"}}, 'invalid label set: invalid name "1a"'),
        ({"labels": {"ü": "x"}}, 'invalid label set: invalid name "ü"'),
        ({"labels": {"a\n": "x"}}, 'invalid label set: invalid name "a\\n"'),
        ({**GOOD, "annotations": {"a-b": "x"}}, 'invalid annotations: invalid name "a-b"'),
        ({**GOOD, "startsAt": "2026-03-01T13:00:00Z"}, "start time must be before end time"),
        (
            {**GOOD, "startsAt": "2026-03-01T11:00:00Z", "endsAt": "2026-03-01T10:59:59Z"},
            "start time must be before end time",
        ),
        ({**GOOD, "startsAt": "soon"}, "startsAt must be a time as in RFC 3339"),
        ({**GOOD, "startsAt": 5}, "startsAt must be a time as in RFC 3339"),
        ({**GOOD, "endsAt": ["2026-03-01T13:00:00Z"]}, "endsAt must be a time as in RFC 3339"),
        ({}, "labels is required and must be an object"),
        ({"labels": None}, "labels is required and must be an object"),
        ({"labels": ["a"]}, "labels is required and must be an object"),
        ({"labels": {"a": 1}}, "invalid label set: values must be texts"),
        ({"labels": {"a": {"b": "c"}}}, "invalid label set: values must be texts"),
        ({**GOOD, "annotations": []}, "annotations must be an object"),
        ({**GOOD, "annotations": {"a": None}}, "invalid annotations: values must be texts"),
        ({**GOOD, "generatorURL": 5}, "generatorURL must be a text"),
        ({"labels": {"a": "x" * 65_537}}, "invalid label set: values have more than 65536 characters together"),
        ({"labels": {"a" * 16_385: "x"}}, "invalid label set: names have more than 16384 characters together"),
        (None, "an alert must be an object"),
        (5, "an alert must be an object"),
        ([GOOD], "an alert must be an object"),
    ],
)
def test_a_bad_alert_is_told_why(alert: Any, reason: str) -> None:
    assert fault(alert) == reason
    assert posted.faults([GOOD, alert, GOOD], NOW, FIVE_MINUTES) == {1: reason}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"annotations": None, "startsAt": None, "endsAt": None, "generatorURL": None},
        {"annotations": {}, "startsAt": "", "endsAt": "", "generatorURL": ""},
        {"annotations": {"summary": ""}},
        {"startsAt": "2026-03-01T11:00:00", "endsAt": "2026-03-01T11:00:00Z"},
        {"startsAt": "2026-03-01T11:00:00.123456789+02:00"},
        {"endsAt": "9999-12-31T23:59:59Z"},
        {"endsAt": "9999-12-31T23:59:59-14:00"},
        {"fingerprint": "is not asked for", "status": {}},
        {"labels": {"__name__": "x", "a-b": "", "c": "\x00\ud800"}},
    ],
)
def test_a_good_one_is_not(more: dict[str, Any]) -> None:
    assert fault({**GOOD, **more}) is None


def test_it_stays_good_beside_others_of_the_same_times() -> None:
    late = {**GOOD, "startsAt": "2026-03-01T11:00:00Z", "endsAt": "2026-03-01T10:00:00Z"}
    assert set(posted.faults([GOOD, late, GOOD, late], NOW, FIVE_MINUTES)) == {1, 3}


def test_without_times_it_lasts_five_minutes_from_now() -> None:
    alert = one(GOOD)
    assert (alert.starts_at, alert.ends_at, alert.ends_explicitly) == (NOW, NOW + FIVE_MINUTES, False)
    assert not alert.is_over


@pytest.mark.parametrize(
    "nothing", ["0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "", None]
)
def test_the_zero_time_means_that_none_was_given(nothing: str | None) -> None:
    alert = one({**GOOD, "startsAt": nothing, "endsAt": nothing})
    assert (alert.starts_at, alert.ends_at, alert.ends_explicitly) == (NOW, NOW + FIVE_MINUTES, False)


def test_without_a_beginning_it_begins_at_its_end() -> None:
    alert = one({**GOOD, "endsAt": "2026-03-01T11:30:00Z"})
    assert alert.starts_at == alert.ends_at == datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    assert alert.ends_explicitly
    assert alert.is_over


def test_labels_without_a_value_are_none() -> None:
    with_empty, without = one({"labels": {"a": "b", "c": ""}}), one({"labels": {"a": "b"}})
    assert with_empty.labels == {"a": "b"}
    assert with_empty.fingerprint == without.fingerprint


def test_text_that_postgres_cannot_keep_becomes_what_go_makes_of_it() -> None:
    alert = one({"labels": {"a": "x\x00y"}, "annotations": {"b": "\ud800"}, "generatorURL": "http://\udfff/"})
    assert (alert.labels["a"], alert.annotations["b"], alert.generator_url) == ("x\ufffdy", "\ufffd", "http://\ufffd/")


def test_times_beyond_reason_are_moved_into_it() -> None:
    alert = one({**GOOD, "startsAt": "0002-01-01T00:00:00Z", "endsAt": "9999-12-31T23:59:59Z"})
    assert (alert.starts_at.year, alert.ends_at.year) == (1970, 9000)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ALERT = st.fixed_dictionaries(
    {"labels": st.dictionaries(st.from_regex(r"[a-z_]{1,3}", fullmatch=True), st.text(max_size=3), max_size=3)},
    optional=dict.fromkeys(("annotations", "startsAt", "endsAt", "generatorURL"), ANYTHING),
)


@given(st.lists(ANYTHING | ALERT, max_size=5))
def test_whatever_json_holds_is_refused_or_can_be_stored(alerts: list[Any]) -> None:
    bad = posted.faults(alerts, NOW, FIVE_MINUTES)
    good = [alert for place, alert in enumerate(alerts) if place not in bad]
    for alert in posted.read(good, received_at=NOW, resolve_after=FIVE_MINUTES, source="api"):
        kept = json.dumps([alert.labels, alert.annotations, alert.generator_url], ensure_ascii=False)
        assert "\x00" not in kept.encode().decode()
        assert "" not in alert.labels.values()
        assert alert.labels
        assert alert.starts_at <= alert.ends_at


def test_the_webhook_of_another_alertmanager_says_the_same() -> None:
    document = {
        "version": "4",
        "status": "firing",
        "alerts": [
            {**GOOD, "status": "firing", "startsAt": "2026-03-01T11:00:00Z", "endsAt": "0001-01-01T00:00:00Z"},
            {**GOOD, "status": "resolved", "startsAt": "2026-03-01T11:00:00Z", "endsAt": "2026-03-01T11:59:00Z"},
            {**GOOD, "status": "resolved"},
            {**GOOD, "status": "firing", "endsAt": "2026-03-01T11:59:00Z"},
            "no alert",
        ],
    }
    firing, resolved, ended_now, still_firing, bad = posted.of_webhook(document, NOW)
    assert not one(firing).is_over
    assert one(resolved).ends_at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    assert one(ended_now).ends_at == NOW
    assert not one(still_firing).is_over
    assert fault(bad) == "an alert must be an object"


@pytest.mark.parametrize("document", [None, [], {}, {"version": "3", "alerts": []}, {"version": "4", "alerts": {}}])
def test_another_version_of_the_webhook_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        posted.of_webhook(document, NOW)


def test_ten_thousand_are_looked_at_in_no_time() -> None:
    alerts = [{"labels": {"alertname": "Storm", "instance": str(number)}} for number in range(10_000)]
    started = time.perf_counter()
    assert posted.faults(alerts, NOW, FIVE_MINUTES) == {}
    assert time.perf_counter() - started < 0.5

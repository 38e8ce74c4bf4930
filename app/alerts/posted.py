"""Alerts as Prometheus posts them: what is wrong with one, and what a good one says.

The rules and their words are those of Alertmanager 0.25, https://github.com/prometheus/alertmanager, `api/v2` and
prometheus/common's `model.Alert.Validate`; what is ours alone is said in docs/alertmanager.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from app.alerts.fingerprint import fingerprint

LABELS_MAX = 65_536
ANNOTATIONS_MAX = 262_144
NAMES_MAX = 16_384
"""Most characters of one alert's labels, of its annotations, and of the names of either, together."""
ALERTS_MAX = 20_000
"""Most alerts in one post."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ZERO = datetime(1, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Times beyond these are moved here: arithmetic with them must not fail later."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NOTHING: dict[str, str] = {}
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Posted:
    """One good alert. `ends_at` is complete: where none was given, silence counts as the end after a while."""

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    generator_url: str
    starts_at: datetime
    ends_at: datetime
    ends_explicitly: bool
    received_at: datetime
    source: str

    @property
    def is_over(self) -> bool:
        """Did it say that it had ended?"""
        return self.ends_at <= self.received_at


def faults(alerts: list[Any], now: datetime, resolve_after: timedelta) -> dict[int, str]:
    """What is wrong, by the place of each bad alert; usually nothing. Quick: the sender waits for it."""
    found: dict[int, str] = {}
    times: set[tuple[Any, Any]] = set()
    for place, alert in enumerate(alerts):
        if _is_plain(alert, times):
            continue
        fault = _fault(alert, now, resolve_after)
        if fault is None:
            times.add((alert.get("startsAt"), alert.get("endsAt")))
        else:
            found[place] = fault
    return found


def _is_plain(alert: Any, times: set[tuple[Any, Any]]) -> bool:
    """Is it good at first sight? `times`: beginnings and ends that were found good before; a batch has few.

    Joining values is the quickest way to see that all are texts, that not all are empty, and how long they are.
    """
    try:
        labels, annotations = alert["labels"], alert.get("annotations", _NOTHING)
        return (
            (alert.get("startsAt"), alert.get("endsAt")) in times
            and 0 < len("".join(labels.values())) <= LABELS_MAX
            and _are_names(tuple(labels))
            and len("".join(annotations.values())) <= ANNOTATIONS_MAX
            and _are_names(tuple(annotations))
            and type(alert.get("generatorURL", "")) is str
        )
    except (TypeError, KeyError, AttributeError):
        return False


def _fault(alert: Any, now: datetime, resolve_after: timedelta) -> str | None:
    if not isinstance(alert, dict):
        return "an alert must be an object"
    try:
        starts, ends = _moment(alert.get("startsAt"), "startsAt"), _moment(alert.get("endsAt"), "endsAt")
    except _NoMoment as error:
        return str(error)
    if starts is not None and starts > (ends or now + resolve_after):
        return "start time must be before end time"
    labels = alert.get("labels")
    if not isinstance(labels, dict):
        return "labels is required and must be an object"
    fault = _pairs_fault({name: value for name, value in labels.items() if value != ""}, "label set", LABELS_MAX)
    if fault is not None:
        return fault
    if not any(labels.values()):
        return "at least one label pair required"
    annotations = alert.get("annotations")
    if annotations is not None:
        if not isinstance(annotations, dict):
            return "annotations must be an object"
        fault = _pairs_fault(annotations, "annotations", ANNOTATIONS_MAX)
        if fault is not None:
            return fault
    url = alert.get("generatorURL")
    return None if url is None or isinstance(url, str) else "generatorURL must be a text"


def _pairs_fault(pairs: dict[str, Any], what: str, most: int) -> str | None:
    if not all(isinstance(value, str) for value in pairs.values()):
        return f"invalid {what}: values must be texts"
    if sum(map(len, pairs.values())) > most:
        return f"invalid {what}: values have more than {most} characters together"
    if sum(map(len, pairs)) > NAMES_MAX:
        return f"invalid {what}: names have more than {NAMES_MAX} characters together"
    bad = next((name for name in pairs if not _NAME.fullmatch(name)), None)
    return None if bad is None else f"invalid {what}: invalid name {json.dumps(bad[:_SHOWN], ensure_ascii=False)}"


@lru_cache(maxsize=512)
def _are_names(names: tuple[str, ...]) -> bool:
    """Remembered, because alerts of one kind have labels of the same names."""
    return all(map(_NAME.fullmatch, names)) and sum(map(len, names)) <= NAMES_MAX


class _NoMoment(ValueError):
    """A time that is none."""


def _moment(written: Any, field: str) -> datetime | None:
    """RFC 3339, without an offset in UTC; nothing, the empty text and the year 1 mean that it was not given."""
    if written is None or written == "":
        return None
    try:
        moment = datetime.fromisoformat(written)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return None if moment <= _ZERO else moment
    except (ValueError, TypeError, OverflowError):
        raise _NoMoment(f"{field} must be a time as in RFC 3339") from None


def read(
    alerts: list[dict[str, Any]], *, received_at: datetime, resolve_after: timedelta, source: str
) -> Iterator[Posted]:
    """Good alerts as values: without empty labels, with both times, in text that Postgres can keep."""
    for alert in alerts:
        labels = {name: _storable(value) for name, value in alert["labels"].items() if value}
        starts, ends = _moment(alert.get("startsAt"), "startsAt"), _moment(alert.get("endsAt"), "endsAt")
        yield Posted(
            fingerprint=fingerprint(labels),
            labels=labels,
            annotations={name: _storable(value) for name, value in (alert.get("annotations") or {}).items()},
            generator_url=_storable(alert.get("generatorURL") or ""),
            starts_at=_within(starts or ends or received_at),
            ends_at=_within(ends or received_at + resolve_after),
            ends_explicitly=ends is not None,
            received_at=received_at,
            source=source,
        )


def _within(moment: datetime) -> datetime:
    return min(max(moment, _EARLIEST), _LATEST)


def _storable(text: str) -> str:
    """Half surrogate pairs become what Go makes of them, and so does NUL, which Postgres cannot keep."""
    return _UNSTORABLE.sub("\ufffd", text)


def of_webhook(document: Any, now: datetime) -> list[Any]:
    """The alerts of Alertmanager's webhook, version 4, as they would be posted. Raises ValueError saying what it lacks.

    There a firing alert has no end: `endsAt` is the year 1. A resolved one that names no end has ended now.
    """
    if not isinstance(document, dict):
        raise ValueError("the body must be an object")
    if document.get("version") != "4":
        raise ValueError('version must be "4"')
    alerts = document.get("alerts")
    if not isinstance(alerts, list):
        raise ValueError("alerts must be a list")
    return [_of_webhook(alert, now) if isinstance(alert, dict) else alert for alert in alerts]


def _of_webhook(alert: dict[str, Any], now: datetime) -> dict[str, Any]:
    plain: dict[str, Any] = {
        name: alert[name] for name in ("labels", "annotations", "startsAt", "generatorURL") if name in alert
    }
    if alert.get("status") != "resolved":
        return plain
    try:
        ends = _moment(alert.get("endsAt"), "endsAt")
    except _NoMoment:
        return plain | {"endsAt": alert["endsAt"]}
    return plain | {"endsAt": (ends or now).isoformat()}

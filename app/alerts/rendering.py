"""A message from a group's alerts: what happened, how bad it is, what to do first. Pure; channels give it its form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app import clock
from app.alerts.core import ACTIONS_TAKEN, SOUNDING, State
from app.alerts.matchers import Matcher, joined
from app.catalog import SEVERITIES
from app.infra.words import duration
from app.notify.message import AlertLine, Event, Link, Message

MOST_LINES = 50
MOST_LABELS = 12
MOST_ACTIONS = 60

_PARAGRAPHS = (
    ("Impact", "impact"),
    ("Possible causes", "causes"),
    ("What to do", "recommendation"),
)
_ADDRESS = ("http://", "https://")
_LINKS = (("Runbook", "runbook"), ("Dashboard", "dashboard"))


@dataclass(frozen=True, slots=True)
class Subject:
    """One alert as a message needs it; `annotations` are complete: its own, filled up from the catalogue."""

    id: UUID
    fingerprint: str
    name: str
    severity: str
    state: State
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    team: str | None = None
    service: str | None = None
    resolved_at: datetime | None = None
    acknowledged_by: str | None = None
    generator_url: str = ""
    flapping: bool = False

    @property
    def sounds(self) -> bool:
        return self.state in SOUNDING


@dataclass(frozen=True, slots=True)
class About:
    """What is said of the group as a whole. `links` come first; `note` says why the message comes now."""

    key: str
    thread: str
    event: Event
    at: datetime
    receiver: str = ""
    route: str = ""
    group_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    note: str = ""
    links: tuple[Link, ...] = ()


def message_of(about: About, subjects: Sequence[Subject]) -> Message:
    """The message about these alerts, of which there is at least one."""
    ordered = sorted(subjects, key=_urgency)
    first, firing = ordered[0], [subject for subject in ordered if subject.sounds]
    common_labels = _common([subject.labels for subject in ordered])
    common_annotations = _common([subject.annotations for subject in ordered])
    told = first.annotations if len(ordered) == 1 else common_annotations
    return Message(
        key=about.key,
        thread=about.thread,
        event=about.event,
        severity=first.severity,
        title=_title(about, first, {subject.service for subject in ordered}),
        summary=_summary(first, ordered),
        at=about.at,
        receiver=about.receiver,
        firing=len(firing),
        resolved=len(ordered) - len(firing),
        note=about.note,
        fields=(*_fields(first, ordered, about.at), *_pages(told)),
        paragraphs=(
            *((label, told[key]) for label, key in _PARAGRAPHS if told.get(key)),
            *(("Actions taken", lines) for lines in _actions_taken(ordered)),
        ),
        links=about.links + _links(told),
        alerts=tuple(_line(subject) for subject in ordered[:MOST_LINES]),
        group_key=f"{about.route}:{joined(Matcher(name, value) for name, value in sorted(about.group_labels.items()))}",
        group_labels=dict(about.group_labels),
        common_labels=common_labels,
        common_annotations=common_annotations,
        external_url=about.external_url,
    )


def _urgency(subject: Subject) -> tuple[bool, int, datetime, str]:
    rank = SEVERITIES.index(subject.severity) if subject.severity in SEVERITIES else 0
    return (not subject.sounds, -rank, subject.starts_at, subject.fingerprint)


def _title(about: About, first: Subject, services: set[str | None]) -> str:
    """The same for as long as the group lives, wherever that is possible: mail programs keep threads by it."""
    name = about.group_labels.get("alertname", first.name)
    return f"{name} on {first.service}" if len(services) == 1 and first.service else name


def _summary(first: Subject, subjects: Sequence[Subject]) -> str:
    said = first.annotations.get("summary") or first.annotations.get("description") or first.name
    others = len(subjects) - 1
    return said if not others else f"{said} (and {others} more)"


def _fields(first: Subject, subjects: Sequence[Subject], now: datetime) -> tuple[tuple[str, str], ...]:
    since = min(subject.starts_at for subject in subjects)
    ended = [subject.resolved_at for subject in subjects if subject.resolved_at is not None]
    until = max(ended) if len(ended) == len(subjects) else now
    fields = [("Severity", first.severity)]
    for label, values in (
        ("Service", [subject.service for subject in subjects]),
        ("Team", [subject.team for subject in subjects]),
        ("At it", [subject.acknowledged_by for subject in subjects]),
    ):
        named = list(dict.fromkeys(value for value in values if value))
        if named:
            fields.append((label, ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")))
    fields += [("Since", clock.iso(since)), ("Duration", duration((until - since).total_seconds()))]
    if any(subject.flapping and subject.sounds for subject in subjects):
        fields.append(("Flapping", "its end is told once it has been quiet for a while"))
    known = {"alertname", "severity", "service", "team"}
    labels = [(key, value) for key, value in sorted(first.labels.items()) if key not in known and len(subjects) == 1]
    return (*fields, *labels[:MOST_LABELS])


def _links(annotations: Mapping[str, str]) -> tuple[Link, ...]:
    return tuple(
        Link(label, annotations[key]) for label, key in _LINKS if annotations.get(key, "").startswith(_ADDRESS)
    )


def _pages(annotations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pages that are no addresses: where to look, in words."""
    for label, key in _LINKS:
        if annotations.get(key) and not annotations[key].startswith(_ADDRESS):
            yield label, annotations[key]


def _actions_taken(subjects: Sequence[Subject]) -> Iterator[str]:
    """What was done about them; of several also about which. Nothing where nothing was."""
    texts = {subject.annotations.get(ACTIONS_TAKEN, ""): subject.service or subject.name for subject in subjects}
    if len(texts) == 1:
        yield from filter(None, texts)
        return
    lines = [f"{about}: {line}" for said, about in texts.items() for line in said.splitlines()]
    if lines:
        yield "\n".join(lines[:MOST_ACTIONS])


def _line(subject: Subject) -> AlertLine:
    return AlertLine(
        fingerprint=subject.fingerprint,
        name=subject.name,
        status="firing" if subject.sounds else "resolved",
        severity=subject.severity,
        summary=subject.annotations.get("summary", ""),
        labels=dict(subject.labels),
        annotations=dict(subject.annotations),
        starts_at=subject.starts_at,
        ends_at=subject.resolved_at,
        generator_url=subject.generator_url,
    )


def _common(mappings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What is the same in all of them."""
    if not mappings:
        return {}
    shared = set(mappings[0].items())
    for mapping in mappings[1:]:
        shared &= set(mapping.items())
        if not shared:
            break
    return dict(sorted(shared))

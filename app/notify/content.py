"""What people are told of a message, cleaned and bounded, before a channel gives it its form. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from app import clock
from app.notify.message import AlertLine, Delivery, Event, Link, Message
from app.notify.text import Piece, fit, short_line, short_text, web_address

REPEAT = "This may be a repeat: an earlier try may have arrived."
"""Said where a repeat cannot be told from a first message by the other side."""

MAYBE_KNOWN = "You may have had this message before."
"""The same in a notice."""

TITLE = 200
_FIELDS, _FIELD_NAME, _FIELD_VALUE = 20, 60, 500
_PARAGRAPHS, _PARAGRAPH_NAME = 10, 60
_ALERTS, _ALERT = 20, 300
_LINKS, _LINK_NAME = 6, 60
_WORDS = {
    Event.FIRING: "Firing",
    Event.UPDATED: "Updated",
    Event.REPEATED: "Still firing",
    Event.ESCALATED: "Escalated",
    Event.ACKNOWLEDGED: "Acknowledged",
    Event.RESOLVED: "Resolved",
    Event.TEST: "Test",
    Event.NOTICE: "Notice",
}
_OF_EVENTS = {Event.ACKNOWLEDGED: "🙋", Event.RESOLVED: "✅", Event.TEST: "🔔"}
_OF_SEVERITIES = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_COLOURS = {"critical": 0xD92D20, "error": 0xF97316, "warning": 0xEAB308, "info": 0x3B82F6}
_GREEN, _GREY, _BLUE = 0x16A34A, 0x6B7280, 0x3B82F6


@dataclass(frozen=True, slots=True)
class Content:
    """Plain text of bounded length. `headline` names what happened to what, `standing` how bad and how many.

    Of a notice there is its title, its text and its links: no headline of ours, no standing, no alerts, no footer.

    `repeat` is "" unless a repeat must be owned up to; links hold http(s) addresses only; `more` counts alerts
    beyond those in `alerts`.
    """

    headline: str
    word: str
    title: str
    standing: str
    repeat: str
    summary: str
    note: str
    fields: tuple[tuple[str, str], ...]
    paragraphs: tuple[tuple[str, str], ...]
    alerts: tuple[str, ...]
    more: int
    links: tuple[Link, ...]
    footer: str
    colour: int

    @property
    def alert_lines(self) -> tuple[str, ...]:
        """One line an alert, and one for those that are left out."""
        return (*self.alerts, f"… and {self.more} more") if self.more else self.alerts


def content_of(delivery: Delivery, *, deduplicates: bool, longest: int = 2000) -> Content:
    """What the message says; no single text of it is longer than `longest` characters.

    An acknowledgement is a short word between two messages: without paragraphs and alerts.
    """
    message = delivery.message
    short, letter = message.event is Event.ACKNOWLEDGED, message.event is Event.NOTICE
    word, title = _WORDS[message.event], short_line(message.title, min(TITLE, longest)) or "untitled"
    summary = short_text(message.summary, longest)
    alerts = () if short or letter or len(message.alerts) < 2 else message.alerts[:_ALERTS]
    return Content(
        headline=title if letter else f"{_symbol(message)} {word}: {title}",
        word=word,
        title=title,
        standing="" if letter else _standing(message),
        repeat=_repeat(message) if delivery.may_be_repeat and not deduplicates else "",
        summary=summary if summary != title else "",
        note=short_text(message.note, longest),
        fields=tuple(_fields(message, longest)),
        paragraphs=() if short else tuple(_paragraphs(message, longest)),
        alerts=tuple(_alert(alert, min(_ALERT, longest)) for alert in alerts),
        more=max(0, message.firing + message.resolved - len(alerts)) if alerts else 0,
        links=tuple(_links(message)),
        footer="" if letter else _footer(message),
        colour=_colour(message),
    )


def standing_lines(content: Content) -> tuple[str, ...]:
    """What stands right below the headline, whatever else must be left out."""
    return tuple(line for line in (content.repeat, content.standing) if line)


def flow(content: Content, *, bold: Callable[[str], str] = lambda label: label, fields: bool = True) -> Iterator[Piece]:
    """Everything between the headline and the links, as running text in falling order of worth.

    `bold` marks up a label, escaping it; `fields` False: they are shown elsewhere.
    """
    for line in standing_lines(content):
        yield Piece(line, before="\n")
    for text in (content.summary, content.note):
        if text:
            yield Piece(text, before="\n\n")
    for place, (name, value) in enumerate(content.fields if fields else ()):
        yield Piece(value, before=("\n" if place else "\n\n") + bold(f"{name}:") + " ")
    for place, line in enumerate(content.alert_lines):
        yield Piece(line, before="\n" if place else "\n\n")
    for name, value in content.paragraphs:
        yield Piece(value, before="\n\n" + bold(name) + "\n")


def severity_of(message: Message) -> str:
    """One of our four; whatever else it is called is an error."""
    return message.severity if message.severity in _OF_SEVERITIES else "error"


def _repeat(message: Message) -> str:
    return MAYBE_KNOWN if message.event is Event.NOTICE else REPEAT


def _symbol(message: Message) -> str:
    return _OF_EVENTS.get(message.event) or _OF_SEVERITIES[severity_of(message)]


def _colour(message: Message) -> int:
    match message.event:
        case Event.RESOLVED:
            return _GREEN
        case Event.ACKNOWLEDGED | Event.TEST:
            return _GREY
        case Event.NOTICE:
            return _BLUE
        case _:
            return _COLOURS[severity_of(message)]


def _standing(message: Message) -> str:
    counts = [f"{number} {word}" for number, word in ((message.firing, "firing"), (message.resolved, "resolved"))
              if number]  # fmt: skip
    return " · ".join([short_line(message.severity, 40), *counts]).strip(" ·")


def _fields(message: Message, longest: int) -> Iterator[tuple[str, str]]:
    for name, value in message.fields[:_FIELDS]:
        shown = short_text(value, min(_FIELD_VALUE, longest))
        if shown:
            yield short_line(name, min(_FIELD_NAME, longest)) or "-", shown


def _paragraphs(message: Message, longest: int) -> Iterator[tuple[str, str]]:
    for name, value in message.paragraphs[:_PARAGRAPHS]:
        shown = short_text(value, longest)
        if shown:
            yield short_line(name, min(_PARAGRAPH_NAME, longest)) or "-", shown


def _links(message: Message) -> Iterator[Link]:
    usable = ((link.label, web_address(link.url)) for link in message.links)
    for label, address in islice(((label, address) for label, address in usable if address), _LINKS):
        yield Link(short_line(label, _LINK_NAME) or "Link", address)


def _alert(alert: AlertLine, longest: int) -> str:
    symbol = "✅" if alert.status == "resolved" else "•"
    name, summary = short_line(alert.name, longest), short_line(alert.summary, longest)
    return fit(f"{symbol} {name}: {summary}" if summary and summary != name else f"{symbol} {name}", longest)


def _footer(message: Message) -> str:
    receiver = short_line(message.receiver, 100)
    return " · ".join(part for part in ("smm-admin", receiver, clock.iso(message.at)) if part)

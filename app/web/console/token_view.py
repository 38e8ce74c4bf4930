"""What the page of one account's token shows, made of the API's documents. Pure: takes `now`, returns plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.tokens.core import Ladder, Step
from app.tokens.history import said
from app.tokens.reasons import words
from app.web.console.limits_view import LimitRow, limit_row
from app.web.console.moments import Moment, moment, parse
from app.web.console.tokens_view import SIGNS, TokenRow, coming, left, row, tries

_SENT = {"sent": "ok", "failed": "bad", "waiting": "warn", "sending": "warn", "dropped": "calm"}
_TROUBLE = ("failed", "dead", "lost", "paused", "login_failed")
_GOOD = ("refreshed", "connected", "imported", "set", "resumed", "enabled")
_FACTS = ("before_expires_at", "duration_ms", "trouble")
"""Facts of the history that only programs need."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder. `is_here`: where it stands; `is_past`: it stands higher."""

    name: str
    said: str
    when: str
    tone: str
    is_here: bool
    is_past: bool


@dataclass(frozen=True, slots=True)
class Happened:
    """An entry of the history."""

    at: Moment
    what: str
    tone: str
    glyph: str
    why: str
    facts: str
    by: str


@dataclass(frozen=True, slots=True)
class Message:
    """What its owner was told by one way."""

    step: str
    channel: str
    to: str
    state: str
    tone: str
    glyph: str
    at: Moment
    why: str


@dataclass(frozen=True, slots=True)
class Read:
    """Somebody asked for the token."""

    by: str
    at: Moment
    outcome: str
    tone: str
    purpose: str


@dataclass(frozen=True, slots=True)
class TokenPage:
    """All of an account's page. `limits` None: not known."""

    row: TokenRow
    told: str
    about: tuple[tuple[str, str], ...]
    rungs: tuple[Rung, ...]
    messages: tuple[Message, ...]
    reads: tuple[Read, ...]
    limits: tuple[LimitRow, ...] | None
    history: tuple[Happened, ...]
    older: bool
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the page is made of. `ladder` None: its platform is not known here."""

    level: str
    document: Mapping[str, Any]
    ladder: Ladder | None
    messages: Sequence[Mapping[str, Any]]
    reads: Sequence[Mapping[str, Any]]
    history: Sequence[Mapping[str, Any]]
    older: bool
    limits: Sequence[Mapping[str, Any]] | None
    notices: tuple[str, ...]


def token_page(facts: Facts, now: datetime) -> TokenPage:
    """Of one account."""
    given = facts.document
    return TokenPage(
        row=row(facts.level, given, now),
        told=_told(given),
        about=tuple(_about(given, now)),
        rungs=() if facts.ladder is None else tuple(rungs(given, facts.ladder, now)),
        messages=tuple(_message(one, now) for one in facts.messages),
        reads=tuple(_read(one, now) for one in facts.reads),
        limits=None if facts.limits is None else tuple(limit_row(one) for one in facts.limits),
        history=tuple(_happened(one, now) for one in facts.history),
        older=facts.older,
        notices=facts.notices,
    )


def rungs(given: Mapping[str, Any], ladder: Ladder, now: datetime) -> Iterator[Rung]:
    """The ladder from the bottom to the top, and where this token stands on it. None where there is no token."""
    if given["state"] in ("unconnected", "disabled"):
        return
    end, planned = parse(given["expires_at"]), tuple(_planned(given, ladder))
    here = _here(given, ladder, end, now)
    for name, text, before in planned:
        height = _HEIGHTS.index(name)
        at = None if end is None or before is None else end - before
        tone = "warn" if height < _HEIGHTS.index(_ASKED) else "bad"
        yield Rung(
            name=name,
            said=text,
            when=coming(at, now) if at is not None and height > here else "",
            tone=tone if height == here else "calm",
            is_here=height == here,
            is_past=height < here,
        )


_ASKED = "ask the owner"
_HEIGHTS = ("refresh", "try again", _ASKED, "urgent", "pause", "expired")


def _planned(given: Mapping[str, Any], ladder: Ladder) -> Iterator[tuple[str, str, timedelta | None]]:
    """Each rung with what it means, and how long before the token's end it is reached at the latest."""
    yield "refresh", _refreshed(ladder), ladder.lead
    yield "try again", _tried(given, ladder), None
    yield _ASKED, "the owner is asked to log in", None
    if ladder.daily:
        yield "urgent", "the owner is told urgently", ladder.urgent
        yield "pause", "operations are paused, and staff is told", ladder.last
    yield "expired", "the token has ended", timedelta()


def _here(given: Mapping[str, Any], ladder: Ladder, end: datetime | None, now: datetime) -> int:
    """The place in _HEIGHTS; -1: below the ladder."""
    step = Step(given["step"])
    if step is not Step.NONE:
        return _HEIGHTS.index(_ASKED) + step.height - 1
    if given["attempts"]:
        return 1
    return 0 if _is_due(end, ladder, now) else -1


def _is_due(end: datetime | None, ladder: Ladder, now: datetime) -> bool:
    return end is not None and end - now < ladder.lead


def _refreshed(ladder: Ladder) -> str:
    days = ladder.lead / timedelta(days=1)
    before = f"{days:g} days" if days >= 1 else f"{ladder.lead / timedelta(minutes=1):g} minutes"
    return f"it is refreshed {before} before its end"


def _tried(given: Mapping[str, Any], ladder: Ladder) -> str:
    if given["attempts"]:
        return f"{tries(given['attempts'], ladder.attempts)} tries failed"
    minutes = round(ladder.retry / timedelta(minutes=1), 1)
    return f"{ladder.attempts} tries in all, {minutes:g} minute{'' if minutes == 1 else 's'} apart"


def _told(given: Mapping[str, Any]) -> str:
    """The heading's end."""
    match given["state"]:
        case "good":
            return "is fine"
        case "waiting":
            return "waits"
        case "failing":
            return "could not be refreshed"
        case "reconnect" | "lost":
            return "needs its owner to log in"
        case "expired":
            return "has ended"
        case "unconnected":
            return "was never connected"
        case "disabled":
            return "is left alone"
        case other:
            return f"is {other}"


def _about(given: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str]]:
    yield "Ends", _end(given["expires_at"], now)
    if given["has_refresh_token"]:
        yield "Refresh token ends", _end(given["refresh_expires_at"], now)
    yield "Refreshed", moment(given["refreshed_at"], now).text
    yield "Accepted by its platform", moment(given["checked_at"], now).text
    next_at = parse(given["next_at"])
    yield "Next look", "-" if next_at is None else coming(next_at, now)
    if given["failing_since"]:
        yield "Fails since", moment(given["failing_since"], now).text
    yield "Generation", f"{given['generation']:,}"
    yield "App", given["app"]
    yield "Allowed", ", ".join(given["scopes"]) or "-"


def _end(value: object, now: datetime) -> str:
    at = parse(value)
    if at is None:
        return left(None, now)
    return f"{'in ' if at > now else ''}{left(at, now)} ({at:%Y-%m-%d %H:%M} UTC)"


def _message(one: Mapping[str, Any], now: datetime) -> Message:
    tone = _SENT.get(one["state"], "calm")
    repeated = f"{one['tries']} tries" if one["tries"] > 1 else ""
    return Message(
        step=words(one["step"]),
        channel=one["channel"],
        to=one["recipient"],
        state=one["state"],
        tone=tone,
        glyph=SIGNS[tone],
        at=moment(one["sent_at"] or one["created_at"], now),
        why=", ".join(part for part in (words(one["error"]), repeated) if part),
    )


def _read(one: Mapping[str, Any], now: datetime) -> Read:
    return Read(
        by=one["by"] or "-",
        at=moment(one["at"], now),
        outcome=words(one["outcome"]),
        tone="ok" if one["outcome"] == "given" else "bad",
        purpose=one["purpose"],
    )


def _happened(one: Mapping[str, Any], now: datetime) -> Happened:
    tone = "bad" if one["kind"] in _TROUBLE else "ok" if one["kind"] in _GOOD else "calm"
    facts = {name: value for name, value in one["facts"].items() if name not in _FACTS}
    return Happened(
        at=moment(one["at"], now),
        what=words(one["kind"]),
        tone=tone,
        glyph="" if tone == "calm" else SIGNS[tone],
        why=words(one["reason"]),
        facts=said({"facts": facts}),
        by=str(one["by"]).removeprefix("person:"),
    )

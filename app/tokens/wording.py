"""What an account's owner reads: plain words for somebody who runs a business and knows nothing of tokens. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from app.notify.text import short_line
from app.tokens.core import Step
from app.tokens.titles import title_of

LONGEST_NAME = 80

_WHY = {
    "password_changed": "The password of the account was changed, and {platform} then asks for a new login.",
    "app_removed": "Our access was removed in the settings of the account.",
    "checkpoint": "{platform} wants you to confirm something: open {platform}, do what it asks there, then come back.",
    "permission_lost": "A permission that we need was taken back.",
    "expired": "The permission that you gave us has run out.",
    "interrupted": "The connection to {platform} broke off at the moment in which your permission was being renewed.",
    "refused": "{platform} does not accept the permission any more that you gave us.",
}
_SAME = {
    "unconfirmed": "checkpoint",
    "scope_missing": "permission_lost",
    "access_denied": "permission_lost",
    "lost_in_crash": "interrupted",
    "answer_lost": "interrupted",
    "invalid": "refused",
    "revoked": "refused",
    "grant_refused": "refused",
    "access_refused": "refused",
}
_FROM_TIME_TO_TIME = "{platform} asks its users to confirm this from time to time."
_NOT_YET = "We could not renew your permission by ourselves so far. We keep trying; your login settles it for certain."
_HOW = "It takes a minute or two: follow the link below and log in to {platform} as {name}."


@dataclass(frozen=True, slots=True)
class Case:
    """What an owner has to know. `login`: nobody else can help; `ends_at`: when it stops, or did, on the owner's clock.

    `step` None: the trouble is over.
    """

    platform: str
    name: str
    step: Step | None
    reason: str = ""
    login: bool = True
    paused: bool = False
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in plain text. `button` is what the link says; "" where there is nothing to be done."""

    title: str
    text: str
    button: str = ""


def letter(case: Case) -> Letter:
    """The letter of a step."""
    platform, name = title_of(case.platform), short_line(case.name, LONGEST_NAME)
    if case.step is None:
        return _restored(platform, name)
    title, first = _first(case, platform, name)
    why = _why(case).format(platform=platform)
    text = "\n\n".join(("Hello,", f"{first} {why}", _after(case, name), _HOW.format(platform=platform, name=name)))
    return Letter(title, text, _button(platform))


def banner(case: Case) -> Letter:
    """The same for a dashboard that its owner looks at anyway: one paragraph beside a button. Not of `step` None."""
    platform, name = title_of(case.platform), short_line(case.name, LONGEST_NAME)
    title, first = _first(case, platform, name)
    why = _why(case).format(platform=platform)
    return Letter(title, f"{first[0].upper()}{first[1:]} {why} {_after(case, name)}", _button(platform))


def when(moment: datetime) -> str:
    """A moment on its own clock: Saturday 14 March at 09:00 (Berlin time)."""
    return f"{moment:%A} {moment.day} {moment:%B} at {moment:%H:%M} ({_clock(moment)})"


def _button(platform: str) -> str:
    return f"Log in to {platform} again"


def _first(case: Case, platform: str, name: str) -> tuple[str, str]:
    """The title, and what has happened."""
    go_on = f"for us to go on working for your {platform} account {name}, you need to log in to {platform} once more."
    by = f" by {case.ends_at.day} {case.ends_at:%B}" if case.ends_at is not None else ""
    match case.step:
        case Step.LAST if case.paused:
            held = f"everything that we do for your {platform} account {name} is paused: posts, replies and statistics."
            return f"Paused: please log in to {platform} again for {name}", held
        case Step.EXPIRED:
            since = "" if case.ends_at is None else f" since {when(case.ends_at)}"
            gone = f"your {platform} account {name} is not connected{since}: nothing is posted, answered or counted."
            return f"{name} is not connected to {platform} any more: please log in", gone
        case Step.RECONNECT | Step.NONE | None:
            return f"Please log in to {platform} again for {name}", go_on
        case Step.URGENT:
            return f"Urgent: please log in to {platform} again for {name}{by}", go_on
        case Step.LAST:
            return f"Last call: please log in to {platform} again for {name}{by}", go_on
        case _:
            assert_never(case.step)


def _why(case: Case) -> str:
    if not case.login:
        return _NOT_YET
    return _WHY.get(_SAME.get(case.reason, case.reason), _FROM_TIME_TO_TIME)


def _after(case: Case, name: str) -> str:
    """By when, and what follows."""
    if case.paused or case.step is Step.EXPIRED:
        return "As soon as you have logged in, everything goes on by itself, with what has been waiting first."
    if case.ends_at is None:
        return f"Until you have, nothing may be posted, answered or counted for {name}."
    return (
        f"Please do so by {when(case.ends_at)}. From then on nothing is posted, answered or counted for {name} until"
        " you have logged in."
    )


def _restored(platform: str, name: str) -> Letter:
    text = (
        f"Hello,\n\nyour {platform} account {name} is connected again, and everything goes on as before.\n\n"
        "There is nothing that you need to do. What we wrote to you about this before is settled."
    )
    return Letter(f"{name} is connected to {platform} again", text)


def _clock(moment: datetime) -> str:
    zone = str(moment.tzinfo)
    return "UTC" if moment.tzinfo is UTC or zone == "UTC" else f"{zone.rpartition('/')[2].replace('_', ' ')} time"

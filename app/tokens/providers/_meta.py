"""What an error of Meta's Graph API means for a token: by code and subcode; by words where a code has two meanings.

https://developers.facebook.com/docs/graph-api/guides/error-handling and
https://developers.facebook.com/docs/graph-api/overview/rate-limiting
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.tokens.asking import retry_after
from app.tokens.granting import seconds_of
from app.tokens.provider import ACCOUNT_LIMITED, Refused, Reply, Trouble

LONGEST_WAIT = timedelta(hours=24)

_BUSINESS_USAGE, _REGAIN = "x-business-use-case-usage", "estimated_time_to_regain_access"
_TOO_MANY_REQUESTS = 429

_LOGIN = (190, 102)
_DEAD = {
    458: "app_removed",
    459: "checkpoint",
    460: "password_changed",
    463: "expired",
    464: "unconfirmed",
    467: "invalid",
    492: "permission_lost",
}
_PERMISSION = frozenset({10, *range(200, 300)})
_PASSING = frozenset({1, 2})
_LIMITED = frozenset({4, 17, 32, 341, 613, *range(80_000, 80_015)})
_OF_ACCOUNT = frozenset({17, 32, *range(80_000, 80_015)})
_APP = 101
_CODE_REFUSED = frozenset({36_007, 36_009})
_REDIRECT_REFUSED = 36_008

# Meta tells a wrong secret by code 1 (Facebook) or 100 (Instagram), a blocked app by 200, a deleted one by 101 or 190:
# codes that otherwise speak of an outage, a parameter or one account. A list of accounts told to log in again because
# their app was blocked is worse than going by words here.
_ABOUT_APP = (
    "client secret",
    "client_secret",
    "client_id",
    "validating application",
    "api access blocked",
    "api access deactivated",
    "invalid platform app",
    "application has been d",
)
_ABOUT_AGE = ("24 hours", "too young")
_ABOUT_CODE = ("authorization code", "verification code", "matching code")


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """An error as Meta wrote it. `words` are compared, and never shown: they may quote a token."""

    code: int | None
    subcode: int | None
    kind: str
    words: str
    is_transient: bool

    @property
    def detail(self) -> str:
        """Its numbers."""
        named = (("code", self.code), ("subcode", self.subcode))
        return ", ".join(f"{name} {value}" for name, value in named if value is not None) or "an error without a code"

    def says(self, phrases: tuple[str, ...]) -> bool:
        """Is one of the phrases in its text?"""
        return any(phrase in self.words for phrase in phrases)


def refusal(reply: Reply, now: datetime, *, young_for: timedelta | None = None) -> Refused | None:
    """What is wrong, None for an answer without an error. `young_for`: until the token is old enough, if it is not."""
    fault = fault_of(reply.document)
    if fault is not None:
        return judged(fault, reply, now, young_for=young_for)
    where = f"answered {reply.status}"
    if reply.status == _TOO_MANY_REQUESTS:
        return Refused(Trouble.LIMITED, "rate_limited", where, _wait(reply, now))
    if reply.status >= 500:
        return Refused(Trouble.TRANSIENT, "unavailable", where, retry_after(reply, now))
    if not 200 <= reply.status < 300:
        return Refused(Trouble.UNKNOWN, "undocumented", f"{where} without an error that can be read")
    if not reply.is_json:
        return Refused(Trouble.TRANSIENT, "unreadable_answer", f"{where}, but what it says is no JSON")
    return None


def code_refusal(reply: Reply, now: datetime) -> Refused | None:
    """The same for the question in which a code is handed in."""
    fault = fault_of(reply.document)
    if fault is not None and not fault.says(_ABOUT_APP):
        if fault.subcode == _REDIRECT_REFUSED or "redirect_uri" in fault.words:
            detail = f"{fault.detail}: the redirect address is not the one that is registered for the app"
            return Refused(Trouble.UNKNOWN, "redirect_refused", detail)
        if fault.subcode in _CODE_REFUSED or fault.says(_ABOUT_CODE):
            return Refused(Trouble.DEAD, "code_refused", f"{fault.detail}: the code is too old, or was used before")
    return refusal(reply, now)


def fault_of(document: Mapping[str, Any]) -> Fault | None:
    """The error in an answer; api.instagram.com has one of its own shape, whose code is the HTTP status."""
    found = document.get("error")
    if isinstance(found, dict):
        return Fault(
            code=seconds_of(found.get("code")),
            subcode=seconds_of(found.get("error_subcode") or found.get("subcode")) or None,
            kind=_text(found.get("type")),
            words=_text(found.get("message")),
            is_transient=found.get("is_transient") is True,
        )
    if found or "error_type" in document or "error_message" in document:
        words = document.get("error_message") or document.get("error_description")
        return Fault(None, None, _text(document.get("error_type") or found), _text(words), is_transient=False)
    return None


def judged(fault: Fault, reply: Reply, now: datetime, *, young_for: timedelta | None = None) -> Refused:
    """What the error means."""
    code, detail = fault.code, fault.detail
    if code in _LIMITED or reply.status == _TOO_MANY_REQUESTS:
        reason = ACCOUNT_LIMITED if code in _OF_ACCOUNT else "rate_limited"
        return Refused(Trouble.LIMITED, reason, detail, _wait(reply, now))
    if code == _APP or fault.says(_ABOUT_APP):
        return Refused(Trouble.APP, "app_refused", f"{detail}: the app's id or secret is wrong, or the app is blocked")
    if code in _PASSING or fault.is_transient or reply.status >= 500:
        return Refused(Trouble.TRANSIENT, "unavailable", detail, retry_after(reply, now))
    is_login = code in _LOGIN
    if fault.subcode not in _DEAD and (
        fault.says(_ABOUT_AGE) or (young_for and not is_login and code not in _PERMISSION)
    ):
        return Refused(Trouble.TOO_YOUNG, "too_young", detail, young_for)
    if is_login:
        return Refused(Trouble.DEAD, _DEAD.get(fault.subcode or 0, "revoked"), detail)
    if code in _PERMISSION:
        return Refused(Trouble.DEAD, "permission_lost", detail)
    return Refused(Trouble.UNKNOWN, "undocumented", detail)


def _wait(reply: Reply, now: datetime) -> timedelta | None:
    """The longest of the times it names."""
    waits = [wait for wait in (retry_after(reply, now), _regained(reply)) if wait]
    return min(max(waits), LONGEST_WAIT) if waits else None


def _regained(reply: Reply) -> timedelta | None:
    """Minutes until calls are taken again, by the object that has to wait longest."""
    try:
        found = json.loads(reply.headers.get(_BUSINESS_USAGE, ""))
    except (ValueError, RecursionError):
        return None
    minutes = [seconds_of(entry.get(_REGAIN)) or 0 for entry in _entries(found)]
    most = min(max(minutes, default=0), 100_000)
    return timedelta(minutes=most) if most > 0 else None


def _entries(found: object) -> Iterator[Mapping[str, Any]]:
    for entries in found.values() if isinstance(found, dict) else ():
        yield from (entry for entry in (entries if isinstance(entries, list) else [entries]) if isinstance(entry, dict))


def _text(value: object) -> str:
    return value[:2000].lower() if isinstance(value, str) else ""

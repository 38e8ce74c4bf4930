"""Instagram, which speaks as Meta's Graph API does: usage in headers, errors with codes, a limit of its own for posts.

https://developers.facebook.com/docs/graph-api/overview/rate-limiting/ and
https://developers.facebook.com/docs/instagram-platform/instagram-graph-api/reference/error-codes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from app.admission.platform import (
    LONGEST_BLOCK,
    MOST_CALLS,
    MOST_PERCENT,
    RETRY_AFTER,
    TOO_MANY_REQUESTS,
    Limited,
    Notes,
    PlatformError,
    Reading,
    Sent,
    Source,
    Trouble,
    Usage,
    figure,
    largest,
    retry_after,
)

PLATFORM = "instagram"
SUMMARY = "usage in X-App-Usage and X-Business-Use-Case-Usage, content_publishing_limit, errors of the Graph API"

APP_USAGE, BUSINESS_USAGE = "x-app-usage", "x-business-use-case-usage"
HEADERS = frozenset({APP_USAGE, BUSINESS_USAGE, RETRY_AFTER})

OWN_TYPE = "instagram"
_SHARES = ("call_count", "total_cputime", "total_time")
_REGAIN = "estimated_time_to_regain_access"

# Which figures a code speaks of: 4 the app's, 17 and 32 those of its user or page, 613 any; 80000 to 80004 business's.
_LIMITED: dict[int, tuple[Source, ...]] = {
    4: ("app_usage",),
    17: ("app_usage", "business_usage"),
    32: ("app_usage", "business_usage"),
    613: (),
    **dict.fromkeys(range(80_000, 80_005), ("business_usage",)),
}
_TOO_MANY_POSTS = (9, 2_207_042)
_TROUBLES = {
    **dict.fromkeys((1, 2, 341), Trouble.PASSING),
    **dict.fromkeys((10, 102, 190, *range(200, 300)), Trouble.TOKEN),
    100: Trouble.REQUEST,
}


def read(sent: Sent, now: datetime) -> Reading:
    """The platform's figures, and whether it wants no calls for a while."""
    notes = Notes()
    app = Usage("app_usage", percent=_share(notes.json_object(sent.headers, APP_USAGE), APP_USAGE, notes))
    business, regain = _business(sent, notes)
    posts = _posts(sent.publishing_limit, notes)
    sources, trouble = _judged(sent)
    if trouble is Trouble.RATE_LIMITED:
        waits = [wait for wait in (regain, retry_after(sent, now)) if wait]
        limited: Limited | None = Limited(sources, max(waits, default=None))
    else:
        limited = Limited(("business_usage",), regain) if regain else None
    return Reading(largest((app, business, posts)), limited, trouble, tuple(notes.said))


def _share(values: Mapping[str, Any], where: str, notes: Notes) -> float:
    """The largest of the percentages: each of them alone stops calls."""
    return max(notes.number(values, key, where, most=MOST_PERCENT) for key in _SHARES)


def _business(sent: Sent, notes: Notes) -> tuple[Usage, timedelta]:
    """The largest share of all business objects, and the longest time until calls are taken again."""
    entries = list(_entries(notes.json_object(sent.headers, BUSINESS_USAGE), notes))
    own = [entry for entry in entries if entry.get("type") == OWN_TYPE]
    most, regain = 0.0, 0.0
    for entry in own or entries:  # those of pages and advertisements count only where there is nothing else to go by
        most = max(most, _share(entry, BUSINESS_USAGE, notes))
        minutes = notes.number(entry, _REGAIN, BUSINESS_USAGE, most=LONGEST_BLOCK / timedelta(minutes=1))
        regain = max(regain, minutes)
    return Usage("business_usage", percent=most), timedelta(minutes=regain)


def _entries(found: Mapping[str, Any], notes: Notes) -> Iterator[Mapping[str, Any]]:
    for entries in found.values():
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict):
                yield entry
            else:
                notes.add(f"{BUSINESS_USAGE}: an entry is no object: ignored")


def _posts(given: Mapping[str, Any] | None, notes: Notes) -> Usage:
    """What GET /ID/content_publishing_limit?fields=quota_usage,config answers, one of its `data`."""
    if given is None:
        return Usage("publishing_limit")
    used = notes.number(given, "quota_usage", "publishing_limit", most=MOST_CALLS)
    config = given.get("config")
    total = figure(config.get("quota_total")) if isinstance(config, dict) else None
    if total is not None and not 1 <= total <= MOST_CALLS:
        notes.add("publishing_limit: config.quota_total is no number from 1: ignored")
        total = None
    return Usage("publishing_limit", used=int(used), capacity=None if total is None else int(total))


def _judged(sent: Sent) -> tuple[tuple[Source, ...], Trouble | None]:
    """Of which limits the error speaks, and what it means."""
    error = sent.error
    if error is not None and error.code in _LIMITED:
        return _LIMITED[error.code], Trouble.RATE_LIMITED
    if error is not None and (error.code, error.subcode) == _TOO_MANY_POSTS:
        return ("publishing_limit",), Trouble.RATE_LIMITED
    if sent.status == TOO_MANY_REQUESTS:
        return (), Trouble.RATE_LIMITED
    return (), None if error is None else _trouble(error)


def _trouble(error: PlatformError) -> Trouble:
    return _TROUBLES.get(error.code, Trouble.UNKNOWN)

"""Which alerts somebody wants to see: Alertmanager's query parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query

from app.alerts.alertmanager_config import NOBODY
from app.alerts.matchers import Matcher, as_bytes, compiled, matches_all, parse
from app.errors import Invalid, Problem
from app.web.alertmanager.refusals import Refused

_TRUE = frozenset({"true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"})
"""What Alertmanager's parser takes for true, in any case; everything else is false."""

Flag = Annotated[str, Query(description="true or false")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of the query: each flag says whether alerts in that state are shown."""

    matchers: tuple[Matcher, ...]
    receiver: Any
    active: bool
    silenced: bool
    inhibited: bool
    unprocessed: bool

    def has(self, labels: dict[str, str]) -> bool:
        """Do its labels match?"""
        return matches_all(self.matchers, labels)

    def is_for(self, receiver: str | None) -> bool:
        """Is it one of the receivers asked for?"""
        return self.receiver is None or self.receiver.fullmatch(as_bytes(receiver or NOBODY)) is not None

    def shows(self, status: dict[str, Any]) -> bool:
        """Is an alert in this state asked for?"""
        if status["state"] == "unprocessed":
            return self.unprocessed
        if status["state"] == "active":
            return self.active
        return (self.silenced or not status["silencedBy"]) and (self.inhibited or not status["inhibitedBy"])


def wanted(
    *,
    filter: Annotated[list[str] | None, Query(description="matchers; all must match")] = None,  # noqa: A002
    receiver: Annotated[str | None, Query(description="a regular expression for the whole name")] = None,
    active: Flag = "true",
    silenced: Flag = "true",
    inhibited: Flag = "true",
    unprocessed: Flag = "true",
) -> Wanted:
    """The query, read. Raises Refused."""
    return Wanted(
        matchers=parsed(filter),
        receiver=_receiver(receiver),
        active=active.lower() in _TRUE,
        silenced=silenced.lower() in _TRUE,
        inhibited=inhibited.lower() in _TRUE,
        unprocessed=unprocessed.lower() in _TRUE,
    )


def parsed(filters: Sequence[str] | None) -> tuple[Matcher, ...]:
    """One matcher each. Raises Refused."""
    try:
        return tuple(parse(text) for text in filters or ())
    except Invalid as error:
        raise Refused(error.problems) from None


def _receiver(written: str | None) -> Any:
    if not written:
        return None
    try:
        return compiled(written)
    except Invalid as error:
        reasons = [Problem("", f"failed to parse receiver param: {problem.message}") for problem in error.problems]
        raise Refused(reasons) from None

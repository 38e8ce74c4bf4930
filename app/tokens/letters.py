"""The letter to an owner as the account stands now, with a link to log in again that is made for it."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from app import catalog as catalogs
from app.config import settings
from app.notify import AlertLine, Event, Link, Message
from app.tokens import climbing, connect_links, core, wording
from app.tokens.core import Place, Step
from app.tokens.rows import Account, Held, Status, token_of
from app.tokens.telling import RESTORED
from app.tokens.wording import Case, Letter

NAME = "AccountConnection"
"""What programs that get such letters by a webhook know them by."""


def case_of(account: Account, status: Status, step: Step | None, *, now: datetime) -> Case:
    """What its owner has to know."""
    place, ends_at = standing(account, status, now)
    return Case(
        platform=account.platform,
        name=account.name or account.external_id,
        step=step,
        reason=status.reason,
        login=place.login,
        paused=status.paused,
        ends_at=None if ends_at is None else ends_at.astimezone(zone_of(account.tenant)),
    )


def standing(account: Account, status: Status, now: datetime) -> tuple[Place, datetime | None]:
    """Where its token stands, and when the account stops working, or did; None where nobody knows."""
    rules = climbing.rules_of(account)
    if rules is None:
        return Place(status.told, status.paused, login=True, client=True), status.expires_at
    token = token_of(account, status)
    place = core.place_of(token, rules.ladder, rules.traits, now)
    is_by_consent = rules.traits.deadline and status.attempts == 0 and core.is_renewable(token, rules.traits, now)
    ends_at = status.refresh_expires_at if is_by_consent else status.expires_at
    return place, _stops_at(status, place, ends_at, rules.ladder.last, now)


def _stops_at(
    status: Status, place: Place, ends_at: datetime | None, last: timedelta, now: datetime
) -> datetime | None:
    """Operations pause before the end, or when the platform refuses the token; what has ended, ended then."""
    if place.step is Step.EXPIRED:
        return ends_at
    stops_at = None if ends_at is None else ends_at - last
    if not place.paused:
        return stops_at if stops_at is None or stops_at > now else ends_at
    return stops_at if stops_at is not None and stops_at <= now else status.tried_at


def zone_of(tenant: str) -> ZoneInfo:
    """The tenant's own time zone."""
    return ZoneInfo(catalogs.current().budgeting.zone_of(tenant))


def link_of(account: Account, status: Status, *, now: datetime) -> str:
    """Where its owner logs in again. Raises Misconfigured without a key to sign with."""
    return connect_links.make(settings(), account.id, generation=status.generation, now=now)


def message_of(key: UUID, held: Held, *, climb: int, step: str, now: datetime) -> Message:
    """The message of a step: a notice, the same thread for a whole climb."""
    account, status = held.account, held.status
    case = case_of(account, status, None if step == RESTORED else Step(step), now=now)
    letter = wording.letter(case)
    link = link_of(account, status, now=now) if letter.button else ""
    labels = {"alertname": NAME, "step": step, **account.labels}
    return Message(
        key=str(key),
        thread=hashlib.sha256(f"{account.id}:{climb}".encode()).hexdigest(),
        event=Event.NOTICE,
        severity="info",
        title=letter.title,
        summary=letter.text,
        at=now,
        receiver=account.tenant,
        firing=0 if step == RESTORED else 1,
        resolved=1 if step == RESTORED else 0,
        links=(Link(letter.button, link),) if link else (),
        alerts=(_line(account, letter, labels, link=link, now=now),),
        group_key=f"account:{account.key}",
        group_labels=account.labels,
        common_labels=labels,
        common_annotations=_annotations(letter, link),
        external_url=settings().external_url,
    )


def _line(account: Account, letter: Letter, labels: dict[str, str], *, link: str, now: datetime) -> AlertLine:
    is_over = labels["step"] == RESTORED
    return AlertLine(
        fingerprint=hashlib.sha256(account.id.bytes).hexdigest()[:16],
        name=NAME,
        status="resolved" if is_over else "firing",
        severity="info",
        summary=letter.title,
        labels=labels,
        annotations=_annotations(letter, link),
        starts_at=now,
        ends_at=now if is_over else None,
    )


def _annotations(letter: Letter, link: str) -> dict[str, str]:
    return {"summary": letter.title, "description": letter.text, **({"link": link} if link else {})}

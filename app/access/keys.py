"""API keys: made, shown once, listed, revoked. What is kept of one is its SHA-256."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app import clock
from app.access import scopes as known
from app.access import store
from app.access.callers import BOOTSTRAP, Role
from app.access.models import KeyRow
from app.access.scopes import Scope
from app.catalog import did_you_mean
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.infra.secret import Secret
from app.infra.text import storable

PREFIX = "smm_"
OURS = frozenset({"admission", "alerts", "costs", "health", "limits", "recovery", "schedule", "tokens", "watchdog"})
"""Who submits jobs of our own: whoever had such a name could look them up."""
DAYS, MOST_DAYS = 90, 3650
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key, without the key."""

    id: UUID
    name: str
    role: Role
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    used_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """good, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "good" if self.expires_at > now else "expired"

    def document(self, now: datetime) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "role": self.role.value,
            "scopes": [str(scope) for scope in self.scopes],
            "state": self.state(now),
            "created_at": clock.iso(self.created_at),
            "created_by": self.created_by,
            "expires_at": clock.iso(self.expires_at),
            "used_at": None if self.used_at is None else clock.iso(self.used_at),
            "revoked_at": None if self.revoked_at is None else clock.iso(self.revoked_at),
            "revoked_by": self.revoked_by,
        }


def create(
    uow: UnitOfWork,
    name: str,
    *,
    role: str,
    scopes: Iterable[str] = (),
    days: float = DAYS,
    by: str,
    now: datetime,
    platforms: Iterable[str] = (),
    tasks: Iterable[str] = (),
) -> tuple[Secret, Key]:
    """Make a key. It is given here and never again. Raises Invalid, Conflict where the name is in use.

    `platforms`, `tasks`: those that there are; a scope that names another one is wrong.
    """
    problems = list(_problems(name, role, days))
    allowed: tuple[Scope, ...] = ()
    try:
        allowed = known.parse_all(scopes, platforms=platforms, tasks=tasks)
    except Invalid as error:
        problems += error.problems
    if not problems:
        problems += _unfit(Role(role), allowed)
    if problems:
        raise Invalid(problems, subject="key")
    secret = Secret(f"{PREFIX}{secrets.token_urlsafe(32)}")
    row = KeyRow(
        id=ids.uuid7(now),
        name=name,
        hash=digest(secret.reveal()),
        role=role,
        scopes=[str(scope) for scope in allowed],
        created_at=now,
        created_by=storable(by, limit=200),
        expires_at=now + timedelta(days=days),
        revoked_by="",
    )
    store.make_room(uow, name, now)
    if not store.insert(uow, row):
        raise Conflict(f'there is a key "{name}": revoke it first, or take another name')
    log.info("key made", key=name, role=role, scopes=row.scopes, by=by, expires_at=clock.iso(row.expires_at))
    return secret, of_row(row)


def revoke(uow: UnitOfWork, name: str, *, by: str, now: datetime) -> Key:
    """End a key; in other processes within seconds. Raises NotFound."""
    row = store.revoke(uow, storable(name), by=storable(by, limit=200), now=now)
    if row is None:
        raise NotFound(f'there is no key "{storable(name, limit=100)}" in use')
    log.info("key revoked", key=row.name, by=by)
    return of_row(row)


def list_keys(session: Session) -> list[Key]:
    """All keys that ever were, by name."""
    return [of_row(row) for row in store.read(session)]


def digest(key: str) -> bytes:
    """What is kept of a key, and what it is found by: as long as the key is secret, so is which one was tried."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def of_row(row: KeyRow) -> Key:
    """A row without its hash. Scopes of a newer version that are unknown here give nothing."""
    return Key(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        scopes=tuple(_readable(row.scopes)),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        used_at=row.used_at,
    )


def _readable(texts: Iterable[str]) -> Iterator[Scope]:
    for text in texts:
        with suppress(Invalid):
            yield known.parse(text)


def _problems(name: str, role: str, days: float) -> Iterator[Problem]:
    if not _NAME.fullmatch(name):
        yield Problem("name", "must be a small letter, then up to 62 small letters, digits, - and _")
    elif name == BOOTSTRAP:
        yield Problem("name", f"{BOOTSTRAP} is the key of the installation: take another name")
    elif name in OURS:
        yield Problem("name", f"{name} is what a part of the system is called: take another name")
    if role not in list(Role):
        yield Problem("role", f"must be {' or '.join(Role)}{did_you_mean(role, Role)}")
    if not 0 < days <= MOST_DAYS:
        yield Problem("days", f"must be more than 0 and at most {MOST_DAYS}")


def _unfit(role: Role, scopes: tuple[Scope, ...]) -> Iterator[Problem]:
    if role is Role.ADMIN and scopes:
        yield Problem("scopes", "are for services: an admin may do everything")
    if role is Role.SERVICE and not scopes:
        yield Problem("scopes", f"are what a service may do: give some of {', '.join(known.KINDS)}")

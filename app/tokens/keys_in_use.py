"""Keys and what is sealed with them: which are in use and by how much, which are missing or wrong, and new ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.config import Settings
from app.errors import Conflict, Invalid, Misconfigured, Problem
from app.infra import crypto, files
from app.infra.crypto import KEY_ID, Damaged, KeyMissing, Keyring, Sealed
from app.infra.db import UnitOfWork, unit_of_work
from app.tokens import envelope, keyring, keys_state
from app.tokens.envelope import Place

LOOK = "tasks.tokens.look_at_keys"
SAMPLES = 5
"""Tokens of a key that are opened to see whether it is the right one."""

_IN_USE = """
    SELECT u.key_id, sum(u.present) AS present, sum(u.previous) AS previous, sum(u.logins) AS logins
      FROM (SELECT key_id, count(*) AS present, 0 AS previous, 0 AS logins
              FROM token_status WHERE access IS NOT NULL GROUP BY key_id
             UNION ALL
            SELECT previous_key_id, 0, count(*), 0
              FROM token_status WHERE previous_access IS NOT NULL GROUP BY previous_key_id
             UNION ALL
            SELECT key_id, 0, 0, count(*) FROM token_connects
             WHERE verifier IS NOT NULL AND used_at IS NULL AND expires_at > :now GROUP BY key_id) u
     GROUP BY u.key_id ORDER BY u.key_id"""

_SAMPLES = """
    SELECT a.tenant, a.platform, a.external_id, s.generation, s.access
      FROM token_status s JOIN accounts a ON a.id = s.account_id
     WHERE s.key_id = :key_id AND s.access IS NOT NULL LIMIT :limit"""

_NEEDED = """
    SELECT DISTINCT ON (s.key_id) s.key_id, a.platform, a.external_id
      FROM token_status s JOIN accounts a ON a.id = s.account_id
     WHERE s.access IS NOT NULL ORDER BY s.key_id"""


@dataclass(frozen=True, slots=True)
class Use:
    """A key's id, and how many accounts' tokens, tokens before those, and logins under way are sealed with it."""

    key_id: str
    present: int = 0
    previous: int = 0
    logins: int = 0
    at_hand: bool = True
    is_primary: bool = False

    @property
    def may_go(self) -> bool:
        """Is nothing sealed with it, nor will be?"""
        return not (self.present or self.previous or self.logins or self.is_primary)

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "id": self.key_id,
            "present": self.present,
            "previous": self.previous,
            "logins": self.logins,
            "at_hand": self.at_hand,
            "seals": self.is_primary,
            "may_go": self.may_go,
        }


def read(session: Session, keys: Keyring | None, now: datetime) -> list[Use]:
    """Every key at hand in its order, then those that are missing; without any, all that are needed."""
    rows = {row.key_id: row for row in session.execute(text(_IN_USE), {"now": now})}
    here = () if keys is None else keys.ids
    ids = [*here, *(key_id for key_id in rows if key_id not in here)]
    return [_use(key_id, rows.get(key_id), here) for key_id in ids]


def _use(key_id: str, row: Any, here: Sequence[str]) -> Use:
    present, previous, logins = (0, 0, 0) if row is None else (int(row.present), int(row.previous), int(row.logins))
    return Use(key_id, present, previous, logins, at_hand=key_id in here, is_primary=key_id in here[:1])


def watch(now: datetime) -> dict[str, str]:
    """`look` with the keys of here; without any, all that are needed are missing. Raises Transient."""
    try:
        keys = keyring.keyring()
    except Misconfigured:
        keys = None
    with unit_of_work() as uow:
        if keys is not None:
            return look(uow, keys, now)
        needed = {row.key_id: f"{row.platform}/{row.external_id}" for row in uow.execute(_NEEDED)}
        tell(uow, [(key_id, account, "key_missing") for key_id, account in needed.items()], ())
    return dict.fromkeys(needed, "key_missing")


def look(uow: UnitOfWork, keys: Keyring, now: datetime) -> dict[str, str]:
    """Notice keys that are missing or wrong before their tokens are due; the reason by id. Each is told once."""
    wrong: dict[str, tuple[str, str]] = {}
    right = set()
    for use in read(uow.session, keys, now):
        if use.present:
            account, reason = _tried(uow, keys, use.key_id)
            if reason:
                wrong[use.key_id] = account, reason
            else:
                right.add(use.key_id)
    for name in uow.execute("SELECT name FROM token_apps WHERE name LIKE 'key:%' AND state = 'refused'").scalars():
        if name.removeprefix("key:") not in wrong:
            right.add(name.removeprefix("key:"))
    tell(uow, [(key_id, account, reason) for key_id, (account, reason) in wrong.items()], right)
    return {key_id: reason for key_id, (_, reason) in wrong.items()}


def _tried(uow: UnitOfWork, keys: Keyring, key_id: str) -> tuple[str, str]:
    """An account of this key and why it does not open; no reason where one of a few does: the others are damaged."""
    account = reason = ""
    for row in uow.execute(_SAMPLES, key_id=key_id, limit=SAMPLES):
        place = Place(row.tenant, row.platform, row.external_id)
        account = f"{row.platform}/{row.external_id}"
        try:
            envelope.unseal(keys, place, "access", row.generation, Sealed(key_id, bytes(row.access)))
        except KeyMissing:
            return account, "key_missing"
        except Damaged:
            reason = "damaged"
        else:
            return account, ""
    return account, reason


def is_wrong(uow: UnitOfWork, keys: Keyring, key_id: str) -> bool:
    """Does none of a few tokens of this key open? Then it is the key; else it is the row that did not."""
    return bool(_tried(uow, keys, key_id)[1])


def tell(uow: UnitOfWork, stuck: Iterable[tuple[str, str, str]], opened: Collection[str]) -> None:
    """Say once a key that it is missing or wrong, or that it is there again.

    `stuck`: key's id, account and reason of tokens that did not open; a key that opened any other one is right.
    """
    told: dict[str, tuple[str, str]] = {}
    for key_id, account, reason in stuck:
        told.setdefault(key_id, (account, reason))
    for key_id in sorted({*told, *opened}):
        if key_id in opened:
            keys_state.found(uow, key_id)
        else:
            account, reason = told[key_id]
            keys_state.missing(uow, key_id, account=account, reason=reason)


def fresh(now: datetime, taken: Collection[str] = (), key_id: str | None = None) -> str:
    """A new entry for the list of keys, "ID:BASE64". Raises Invalid for an id that cannot be one, or is taken."""
    if key_id is not None and (KEY_ID.fullmatch(key_id) is None or key_id in taken):
        message = "is taken" if key_id in taken else "must be 1 to 40 letters, digits, dots and dashes"
        raise Invalid([Problem("id", message)], subject="key")
    made = key_id or keyring.new_id(now)
    while key_id is None and made in taken:
        made = keyring.new_id(now)
    return crypto.new_key(made)


def write_first(config: Settings, now: datetime, key_id: str | None = None) -> tuple[Path, str]:
    """Put a new key before the others of the file; the file and the key's id. It seals from now on.

    Raises Conflict where the keys come from the environment, Invalid, Misconfigured.
    """
    if config.token_keys is not None:
        raise Conflict(f"{keyring.VARIABLE} is set, and the file is not read: put a new entry first there")
    file = keyring.path(config)
    try:
        text_now = file.read_text() if file.exists() else ""
        taken = crypto.parse(text_now, where=str(file)).ids if text_now.strip() else ()
        entry = fresh(now, taken, key_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        owner = (file.stat().st_uid, file.stat().st_gid) if file.exists() else None
        files.write_private(file, f"{entry}\n{text_now}", owner=owner)
    except OSError as error:
        raise Misconfigured(f"{file}: {error.strerror}") from None
    return file, entry.partition(":")[0]

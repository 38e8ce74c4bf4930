"""Tokens sealed anew under the newest key, in batches and by compare-and-set.

What does not open is named and left exactly as it is, and the others go on. A refresh in between wins: it has sealed
its token under the newest key itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.infra.crypto import Damaged, KeyMissing, Keyring, Sealed
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.tokens import envelope, keys_in_use, sealing, store
from app.tokens.envelope import Field, Place
from app.tokens.keyring import keyring
from app.tokens.store import Account

REWRAP = "tasks.tokens.rewrap"
BATCH = 500
MOST_NAMED = 1000
"""Tokens that do not open, by name; of more there is the count."""

START = UUID(int=0)
PRESENT, PREVIOUS, LOGIN = "present", "previous", "login"
_PART = {PRESENT: "the token", PREVIOUS: "the token before", LOGIN: "a login that was begun"}

_ROWS = """
    SELECT a.id, a.tenant, a.platform, a.external_id, s.generation, s.access, s.refresh, s.key_id,
           s.previous_access, s.previous_refresh, s.previous_key_id
      FROM token_status s JOIN accounts a ON a.id = s.account_id
     WHERE s.account_id > :after
       AND ((s.access IS NOT NULL AND s.key_id <> :primary)
            OR (s.previous_access IS NOT NULL AND s.previous_key_id <> :primary))
     ORDER BY s.account_id LIMIT :limit"""

_STORE = """
    UPDATE token_status AS s
       SET access = g.access, refresh = g.refresh, key_id = g.key_id, previous_access = g.previous_access,
           previous_refresh = g.previous_refresh, previous_key_id = g.previous_key_id
      FROM unnest(CAST(:id AS uuid[]), CAST(:generation AS int[]), CAST(:was AS text[]), CAST(:previous_was AS text[]),
                  CAST(:access AS bytea[]), CAST(:refresh AS bytea[]), CAST(:key_id AS text[]),
                  CAST(:previous_access AS bytea[]), CAST(:previous_refresh AS bytea[]),
                  CAST(:previous_key_id AS text[]))
        AS g(id, generation, was, previous_was, access, refresh, key_id,
             previous_access, previous_refresh, previous_key_id)
     WHERE s.account_id = g.id AND s.generation = g.generation AND s.key_id = g.was
       AND s.previous_key_id = g.previous_was
    RETURNING s.account_id"""

_LOGINS = """
    SELECT c.id, c.verifier, c.key_id, a.tenant, a.platform, a.external_id
      FROM token_connects c JOIN accounts a ON a.id = c.account_id
     WHERE c.verifier IS NOT NULL AND c.key_id <> :primary AND c.used_at IS NULL AND c.expires_at > :now
     ORDER BY c.id"""

_STORE_LOGIN = """
    UPDATE token_connects SET verifier = :data, key_id = :key_id
     WHERE id = :id AND key_id = :was AND used_at IS NULL RETURNING id"""


@dataclass(frozen=True, slots=True)
class Stuck:
    """A token that does not open. `reason`: "key_missing", or "damaged" (of another place, or the key is another)."""

    account: str
    key_id: str
    reason: str
    part: str = PRESENT

    def document(self) -> dict[str, str]:
        """JSON-ready."""
        platform, _, account = self.account.partition("/")
        found = {"platform": platform, "account": account, "key_id": self.key_id}
        return found | {"reason": self.reason, "part": self.part}


@dataclass(slots=True)
class Rewrapped:
    """What one run has done so far. `after`: where it goes on; None: it went through."""

    accounts: int = 0
    logins: int = 0
    overtaken: int = 0
    stuck: list[Stuck] = field(default_factory=list)
    stuck_count: int = 0
    opened: set[str] = field(default_factory=set)
    first: dict[str, Stuck] = field(default_factory=dict)
    after: UUID | None = START

    def add_stuck(self, stuck: Stuck) -> None:
        """Note and name a token that does not open."""
        self.stuck_count += 1
        self.first.setdefault(stuck.key_id, stuck)
        if len(self.stuck) < MOST_NAMED:
            self.stuck.append(stuck)

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "rewrapped": self.accounts,
            "logins": self.logins,
            "overtaken": self.overtaken,
            "unreadable_count": self.stuck_count,
            "unreadable": [one.document() for one in self.stuck],
        }


def run(
    *, by: str, now: datetime | None = None, after: UUID = START, until: Callable[[], bool] = lambda: False
) -> Rewrapped:
    """Go through all that is sealed under another key than the newest, from `after` on; `until` ends it early.

    Keys that are missing, or wrong, are told of once each. Raises Misconfigured without any key, Transient.
    """
    moment = now or clock.now()
    with unit_of_work() as uow:
        keys = sealing.keys(uow)
    done = Rewrapped(after=after)
    while done.after is not None and not until():
        with unit_of_work() as uow:
            _batch(uow, keys, done, by=by, now=moment)
    if done.after is None:
        with unit_of_work() as uow:
            _logins(uow, keys, done, now=moment)
    with unit_of_work() as uow:
        keys_in_use.tell(uow, [(one.key_id, one.account, one.reason) for one in done.first.values()], done.opened)
    return done


def unreadable(session: Session, keys: Keyring) -> Iterator[Stuck]:
    """Every token that does not open, whatever key it is sealed with: all of them are tried."""
    after = START
    while True:
        rows = session.execute(text(_ROWS), {"after": after, "primary": "", "limit": BATCH}).all()
        for row in rows:
            for part in (PRESENT, PREVIOUS):
                found = _pair(row, part)
                stuck = None if found is None else _opened(keys, row, found)
                if isinstance(stuck, Stuck):
                    yield stuck
        if len(rows) < BATCH:
            return
        after = rows[-1].id


def find_unreadable() -> list[Stuck]:
    """The same with a session of its own. Raises Misconfigured without any key."""
    with read_only() as session:
        return list(unreadable(session, keyring()))


@dataclass(frozen=True, slots=True)
class _Pair:
    """An access token and its refresh token, sealed under one key."""

    part: str
    generation: int
    access: Sealed
    refresh: Sealed | None

    @property
    def key_id(self) -> str:
        return self.access.key_id


def _pair(row: Any, part: str) -> _Pair | None:
    if part == PRESENT:
        access, refresh, key_id, generation = row.access, row.refresh, row.key_id, row.generation
    else:
        access, refresh, key_id = row.previous_access, row.previous_refresh, row.previous_key_id
        generation = row.generation - 1
    if access is None:
        return None
    sealed = None if refresh is None else Sealed(key_id, bytes(refresh))
    return _Pair(part, generation, Sealed(key_id, bytes(access)), sealed)


def _batch(uow: UnitOfWork, keys: Keyring, done: Rewrapped, *, by: str, now: datetime) -> None:
    rows = uow.execute(_ROWS, after=done.after, primary=keys.primary, limit=BATCH).all()
    anew = [columns for row in rows if (columns := _columns(keys, row, done)) is not None]
    if anew:
        stored = set(uow.execute(_STORE, **{name: [one[name] for one in anew] for name in anew[0]}).scalars())
        kept = [row for row in rows if row.id in stored]
        _remember(uow, kept, keys.primary, by=by, now=now)
        done.accounts += len(kept)
        done.overtaken += len(anew) - len(kept)
    done.after = rows[-1].id if len(rows) == BATCH else None


def _columns(keys: Keyring, row: Any, done: Rewrapped) -> dict[str, Any] | None:
    """The row with its pairs sealed anew; a pair that does not open stays as it is. None where nothing changes."""
    found: dict[str, Any] = {"id": row.id, "generation": row.generation, "was": row.key_id}
    found |= {"previous_was": row.previous_key_id}
    changed = False
    for part, prefix in ((PRESENT, ""), (PREVIOUS, "previous_")):
        names = [f"{prefix}{name}" for name in ("access", "refresh", "key_id")]
        found |= {name: getattr(row, name) for name in names}
        pair = _pair(row, part)
        if pair is None or pair.key_id == keys.primary:
            continue
        opened = _opened(keys, row, pair)
        if isinstance(opened, Stuck):
            done.add_stuck(opened)
            continue
        done.opened.add(pair.key_id)
        sealed = [None if one is None else one.data for one in _sealed(keys, row, pair.generation, opened)]
        found |= dict(zip(names, (*sealed, keys.primary), strict=True))
        changed = True
    return found if changed else None


def _opened(keys: Keyring, row: Any, pair: _Pair) -> tuple[Any, Any] | Stuck:
    """Both tokens in clear, or why not."""
    place, account = Place(row.tenant, row.platform, row.external_id), f"{row.platform}/{row.external_id}"
    parts: Sequence[tuple[Field, Sealed | None]] = (("access", pair.access), ("refresh", pair.refresh))
    try:
        access, refresh = (
            None if sealed is None else envelope.unseal(keys, place, name, pair.generation, sealed)
            for name, sealed in parts
        )
    except KeyMissing:
        return Stuck(account, pair.key_id, "key_missing", pair.part)
    except Damaged:
        return Stuck(account, pair.key_id, "damaged", pair.part)
    return access, refresh


def _sealed(keys: Keyring, row: Any, generation: int, tokens: tuple[Any, Any]) -> Iterator[Sealed | None]:
    place = Place(row.tenant, row.platform, row.external_id)
    fields: tuple[Field, Field] = ("access", "refresh")
    for name, token in zip(fields, tokens, strict=True):
        yield None if token is None else envelope.seal(keys, place, name, generation, token)


def _remember(uow: UnitOfWork, rows: Sequence[Any], key_id: str, *, by: str, now: datetime) -> None:
    for row in rows:
        account = Account(row.id, row.tenant, row.platform, row.external_id)
        store.record(uow, account, "rewrapped", by=by, now=now, generation=row.generation, key=key_id)


def _logins(uow: UnitOfWork, keys: Keyring, done: Rewrapped, *, now: datetime) -> None:
    """Verifiers of logins that wait for their answer; they are few, and forgotten within the hour."""
    for row in uow.execute(_LOGINS, primary=keys.primary, now=now).all():
        place = Place(row.tenant, row.platform, row.external_id)
        try:
            plain = envelope.unseal(keys, place, "verifier", 0, Sealed(row.key_id, bytes(row.verifier)))
        except (KeyMissing, Damaged) as error:
            reason = "key_missing" if isinstance(error, KeyMissing) else "damaged"
            done.add_stuck(Stuck(f"{row.platform}/{row.external_id}", row.key_id, reason, LOGIN))
            continue
        sealed = envelope.seal(keys, place, "verifier", 0, plain)
        stored = uow.execute(_STORE_LOGIN, id=row.id, data=sealed.data, key_id=sealed.key_id, was=row.key_id)
        done.logins += len(stored.all())


def words(found: Sequence[Stuck]) -> Iterator[str]:
    """What does not open, by account, for people."""
    for one in found:
        why = "is missing" if one.reason == "key_missing" else "does not open it: another key, or another row's"
        yield f"{one.account}: {_PART[one.part]}: key {one.key_id} {why}"

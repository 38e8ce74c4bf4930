"""Accounts from a file: good rows are kept, bad ones reported by row and field; what is secret is never quoted.

A file that is imported again changes nothing: a token is compared with the stored one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app import catalog, clock
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra.crypto import Damaged, KeyMissing, Keyring, Sealed
from app.infra.db import UnitOfWork, unit_of_work
from app.tokens import accounts, envelope, import_rows, sealing, store
from app.tokens.given import Checker, Wanted
from app.tokens.import_rows import Row
from app.tokens.keyring import keyring
from app.tokens.provider import Tokens
from app.tokens.store import Held

BATCH = 200
"""Rows a transaction."""
MOST_REPORTED = 1000
"""Bad rows by name; of more there is the count."""

ADDED, REPLACED, CONNECTED, UNCHANGED = "added", "replaced", "connected", "unchanged"

_ALREADY = "is another one than the account has: it is put in its place only with `replace`"
_OLDER = "is the one that the account had before its present one: it is not put back"
_UNREADABLE = "cannot be compared with the stored one, which does not open: it is put in its place only with `replace`"

_STORED = f"""
    SELECT {store.COLUMNS}, s.access, s.refresh, s.previous_access
      FROM accounts a JOIN token_status s ON s.account_id = a.id
      JOIN unnest(CAST(:platforms AS text[]), CAST(:accounts AS text[])) AS w(platform, external_id)
        ON w.platform = a.platform AND w.external_id = a.external_id"""


@dataclass(slots=True)
class Imported:
    """What came of a file. Rows are numbered as in the file: the line of a CSV's first row of values is 2."""

    dry_run: bool = False
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((ADDED, REPLACED, CONNECTED, UNCHANGED), 0))
    rejected: list[dict[str, Any]] = field(default_factory=list)
    rejected_count: int = 0

    def reject(self, row: Row, problems: Iterable[Problem]) -> None:
        """Report a row."""
        self.rejected_count += 1
        if len(self.rejected) < MOST_REPORTED:
            errors = [{"field": one.field, "message": one.message} for one in problems]
            self.rejected.append({"row": row.number, "errors": errors})

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        rejected = sorted(self.rejected, key=lambda one: int(one["row"]))
        return {"dry_run": self.dry_run, **self.counts, "rejected_count": self.rejected_count, "rejected": rejected}


def bring_in(
    raw: bytes,
    *,
    content_type: str,
    by: str,
    replace: bool = False,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Imported:
    """Import a file, a few hundred rows a transaction. Raises Invalid, Misconfigured, Transient.

    `replace`: another token than the stored one is put in its place, and name, app and contacts that are given, too.
    After trouble in the middle the file can simply be imported again.
    """
    moment = now or clock.now()
    done = Imported(dry_run)
    checker = Checker(catalog.current(), moment)
    sealing.require()
    batch: list[tuple[Row, Wanted]] = []
    for row, wanted in _checked(import_rows.read(raw, content_type), checker, done):
        batch.append((row, wanted))
        if len(batch) == BATCH:
            _write(batch, done, by=by, replace=replace, now=moment)
            batch = []
    _write(batch, done, by=by, replace=replace, now=moment)
    return done


def _checked(rows: Iterable[Row], checker: Checker, done: Imported) -> Iterator[tuple[Row, Wanted]]:
    """Rows whose values are good, each account once."""
    seen: dict[str, int] = {}
    for row in rows:
        try:
            if row.problem is not None:
                raise Invalid([row.problem])
            wanted = checker.account(row.values)
            first = seen.setdefault(wanted.key, row.number)
            if first != row.number:
                raise Invalid([Problem("account", f"is there twice: first in row {first}")])
        except Invalid as error:
            done.reject(row, error.problems)
            continue
        yield row, wanted


def _write(batch: Sequence[tuple[Row, Wanted]], done: Imported, *, by: str, replace: bool, now: datetime) -> None:
    if not batch:
        return
    counts, rejected = dict.fromkeys(done.counts, 0), []
    with unit_of_work() as uow, uow.session.no_autoflush:  # what goes on record is written in one go
        stored = _stored(uow, batch)
        # In the same order in every import, so that two of them never wait for one another.
        for row, wanted in sorted(batch, key=lambda one: one[1].key):
            try:
                held = stored.get(wanted.key)
                counts[_one(uow, wanted, held, by=by, replace=replace, dry_run=done.dry_run, now=now)] += 1
            except Invalid as error:
                rejected.append((row, error.problems))
            except Conflict:
                rejected.append((row, (Problem("account", "was added by somebody else in this moment"),)))
            except NotFound:
                rejected.append((row, (Problem("account", "was removed by somebody else in this moment"),)))
    for name, count in counts.items():  # a batch that was rolled back does not count
        done.counts[name] += count
    for row, problems in rejected:
        done.reject(row, problems)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is here of an account, with the ciphertext before the present one."""

    held: Held
    previous: Sealed | None


def _stored(uow: UnitOfWork, batch: Sequence[tuple[Row, Wanted]]) -> dict[str, _Stored]:
    platforms, ids = ([getattr(wanted, name) for _, wanted in batch] for name in ("platform", "external_id"))
    found = {}
    for row in uow.execute(_STORED, platforms=platforms, accounts=ids):
        held = store.held_of(row)
        previous = None if row.previous_access is None else Sealed(row.previous_key_id, bytes(row.previous_access))
        found[held.account.key] = _Stored(held, previous)
    return found


def _one(
    uow: UnitOfWork,
    wanted: Wanted,
    stored: _Stored | None,
    *,
    by: str,
    replace: bool,
    dry_run: bool,
    now: datetime,
) -> str:
    """Do what a row asks for; what was done. Raises Invalid, Conflict."""
    if stored is None:
        if not dry_run:
            accounts.write(uow, wanted, by=by, now=now)
        return ADDED
    held = stored.held
    if held.account.tenant != wanted.tenant:
        raise _wrong("tenant", "is not the one that the account has here")
    what = _what(wanted, stored, replace=replace)
    if dry_run or (what == UNCHANGED and not replace):
        return what
    held = accounts.locked(uow, held.account)
    if held.status.generation != stored.held.status.generation:
        raise _wrong("access_token", "the account got another one in this moment")
    if replace:
        fields = {name: getattr(wanted, name) for name in ("name", "app", "contacts")}
        accounts.rewrite(uow, held, {name: one for name, one in fields.items() if one is not None}, by=by, now=now)
    if what != UNCHANGED and wanted.tokens is not None:
        accounts.put(uow, accounts.locked(uow, held.account).account, wanted.tokens, by=by, now=now)
    return what


def _what(wanted: Wanted, stored: _Stored, *, replace: bool) -> str:
    """What would become of the token. Raises Invalid where it may not take the place of the stored one."""
    tokens = wanted.tokens
    if tokens is None:
        return UNCHANGED
    if stored.held.access is None:
        return CONNECTED
    keys = keyring()
    try:
        if _is_same(tokens, stored.held, keys):
            return UNCHANGED
        if _is_previous(tokens, stored, keys):
            raise _wrong("access_token", _OLDER)
    except (KeyMissing, Damaged):
        if not replace:
            raise _wrong("access_token", _UNREADABLE) from None
    if not replace:
        raise _wrong("access_token", _ALREADY)
    return REPLACED


def _is_same(tokens: Tokens, held: Held, keys: Keyring) -> bool:
    """Raises KeyMissing, Damaged."""
    place, generation = held.account.place, held.status.generation
    if held.access is None or envelope.unseal(keys, place, "access", generation, held.access) != tokens.access:
        return False
    if tokens.refresh is None:
        return True
    return (
        held.refresh is not None and envelope.unseal(keys, place, "refresh", generation, held.refresh) == tokens.refresh
    )


def _is_previous(tokens: Tokens, stored: _Stored, keys: Keyring) -> bool:
    if stored.previous is None:
        return False
    place, generation = stored.held.account.place, stored.held.status.generation - 1
    try:
        return envelope.unseal(keys, place, "access", generation, stored.previous) == tokens.access
    except (KeyMissing, Damaged):
        return False


def _wrong(field: str, message: str) -> Invalid:
    return Invalid([Problem(field, message)], subject="row")

"""All that holds operations in one hash of Redis, where the limiter's script reads it: pauses, modes, services.

Postgres has the truth. Each writer asks Postgres for the rows and for the moment at which they were so; a field that is
of a later moment stays. Who frees a scope wakes the queues that may have waited for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog
from app.admission import pause_store, queues, store
from app.catalog import CLASSES
from app.errors import SmmError
from app.infra import redis
from app.infra.db import read_only, unit_of_work
from app.infra.logging import get_logger
from app.infra.text import storable
from app.limits import keys

MOMENTS = f"{keys.HOLDS}:moments"
"""Hash: scope → the moment of Postgres that its field of the hash of holds is of (holds.lua)."""

LONGEST_REASON = 200
"""Characters of a reason in Redis, where it is one line."""

_AT_ONCE = 500
"""Scopes that are written, or woken, in one step: Redis serves nobody else meanwhile."""

_SCRIPT = (Path(__file__).parent / "holds.lua").read_text()

# What a snapshot sees only grows: first by the newest transaction that ended, then, for the same one, by each of the
# older ones that ended after it. So this text, digits only, sorts as the moments did. One that is equal saw the same.
_MOMENT = """
    SELECT lpad(pg_snapshot_xmax(seen)::text, 20, '0')
        || lpad((10000000 - (SELECT count(*) FROM pg_snapshot_xip(seen)))::text, 8, '0')
      FROM pg_current_snapshot() AS seen"""

_UTC_1970 = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """What holds each scope, in lines for the script, and the moment of Postgres at which it was so."""

    moment: str
    lines: Mapping[str, str]

    def of(self, scopes: Iterable[str]) -> list[tuple[str, str]]:
        """Each scope with its lines; none where nothing holds it."""
        return [(scope, self.lines.get(scope, "")) for scope in scopes]


def follow(scopes: Iterable[str]) -> None:
    """Write these scopes as they are now, and wake queues; after a commit. Raises nothing: `catch_up` will follow."""
    try:
        freed = _write_some(set(scopes))
        _wake(_write_all() if freed is None else freed)
    except SmmError as error:
        log.warning("what holds operations is not up to date in Redis; Postgres has it", error=str(error))


def catch_up() -> None:
    """Write everything as it is now, and wake queues. Raises nothing for Redis or Postgres."""
    try:
        _wake(_write_all())
    except SmmError as error:
        log.warning("what holds operations is not up to date in Redis; Postgres has it", error=str(error))


def write_all() -> None:
    """Write everything after a loss of Redis. Raises Transient; doing it again does no harm.

    It wakes nobody and takes no lock: whoever noticed the loss may hold a queue.
    """
    _write_all()


def _write_all() -> list[str]:
    """Write everything, and forget what holds no longer; the scopes that were freed."""
    with redis.transient_errors():
        before = redis.client().hget(MOMENTS, "newest") or ""
    now = read()
    if now.moment < before:
        log.warning("Postgres was set back: what holds operations is written anew")
        _run(now.moment, "anew", ())
    freed: list[str] = []
    for scopes in _parts(now.lines):
        freed += _run(now.moment, "part", now.of(scopes)) or ()
    return freed + (_run(now.moment, "end", ()) or [])


def _write_some(scopes: Collection[str]) -> list[str] | None:
    """The scopes that were freed; None where Redis has lost the whole."""
    freed: list[str] = []
    for part in _parts(scopes):
        found = write(read(part), part)
        if found is None:
            return None
        freed += found
    return freed


def write(now: Held, scopes: Collection[str]) -> list[str] | None:
    """Write these scopes, unless Redis has a later moment's; those that were freed. None: Redis has lost the whole."""
    return _run(now.moment, "some", now.of(scopes))


def _run(moment: str, what: str, fields: Iterable[tuple[str, str]]) -> list[str] | None:
    arguments = [moment, what, *(word for field in fields for word in field)]
    with redis.transient_errors():
        found = redis.client().register_script(_SCRIPT)(keys=[keys.HOLDS, MOMENTS], args=arguments)
    return None if found is None else list(found)


def _wake(freed: Collection[str]) -> None:
    """Let those who waited try: only now does the limiter know that they may."""
    for part in _parts(set(freed)):
        with unit_of_work() as uow:
            queues.wake(uow, *part)


def _parts(scopes: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(scopes)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def read(scopes: Collection[str] | None = None) -> Held:
    """What holds these scopes, or all of them, by one snapshot of Postgres. Raises Transient."""
    with read_only() as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        moment: str = session.execute(text(_MOMENT)).scalar_one()
        found: dict[str, list[str]] = {}
        for scope, held in _lines(session, scopes):
            if scopes is None or scope in scopes:
                found.setdefault(scope, []).append(held)
    return Held(moment, {scope: "\n".join(dict.fromkeys(lines)) for scope, lines in found.items()})


def _lines(session: Session, scopes: Collection[str] | None) -> Iterator[tuple[str, str]]:
    for pause in pause_store.read(session, scopes=None if scopes is None else list(scopes)):
        said = pause.reason if pause.effect == "hint" else f"pause by {pause.set_by}: {pause.reason}"
        yield pause.scope, line(pause.least, pause.until, pause.effect, said)
    if _concerned(scopes, "operation:"):
        for hold in store.read(session)[2]:
            said = f"mode {hold.name}: {hold.reason}"
            for effect, operations in (("wait", hold.wait), ("hint", hold.fall_back)):
                for operation in operations:
                    yield f"operation:{operation}", line(0, hold.until, effect, said)
    if _concerned(scopes, "service:"):
        for name in store.down(session, sorted(required())):
            yield f"service:{name}", line(0, None, "wait", f"service {name} is down")


def _concerned(scopes: Collection[str] | None, kind: str) -> bool:
    return scopes is None or any(scope.startswith(kind) for scope in scopes)


def required() -> set[str]:
    """The services that any operation of the catalogue cannot do without."""
    operations = catalog.current().limiting.operations.values()
    return {service for operation in operations for service in operation.requires}


def line(least: int, until: datetime | None, effect: str, reason: str) -> str:
    """`LEAST UNTIL EFFECT REASON`: a rank, milliseconds since 1970 or 0, a word, and words for people in one line."""
    ends = 0 if until is None else max(1, -((_UTC_1970 - until) // timedelta(milliseconds=1)))
    shown = "".join(letter if letter.isprintable() else " " for letter in reason)
    return f"{min(least, len(CLASSES) - 1)} {ends} {effect} {storable(' '.join(shown.split()), limit=LONGEST_REASON)}"

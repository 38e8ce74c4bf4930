"""What people said is copied while the database answers, and counts while it does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app import clock
from app.alerts import overrides, silences
from app.alerts.matchers import Matcher
from app.config import settings
from app.infra import db
from app.infra.db import unit_of_work
from app.watchdog import known
from app.watchdog.known import Known
from app.watchdog.rounds import Rounds
from tests.health import catalogs, local

PEOPLE = """
[services.disk]
kind = "disk"
path = "/"
[channels.ops]
kind = "console"
[people.ann]
contacts = [{channel = "ops"}]
[people.ben]
contacts = [{channel = "ops"}]
[rotations.first]
members = ["ann"]
start = 2026-01-05
"""


def silence(value: str, *, begins: timedelta = timedelta(), lasts: timedelta = timedelta(hours=1)) -> None:
    now = clock.now()
    with unit_of_work() as uow:
        silences.create(
            uow,
            matchers=[Matcher("service", value, is_regex=True)],
            starts_at=now + begins,
            ends_at=now + begins + lasts,
            created_by="ann",
            comment="moving house",
            now=now,
        )


@pytest.fixture
def rounds(database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    catalogs.use(monkeypatch, home, PEOPLE)
    return Rounds(home / "run", lambda: None, 60)


def copied() -> Known:
    return known.kept(known.path_in(settings().run_dir))


def test_silences_that_last_or_will_begin_are_copied_and_those_that_are_over_are_not(rounds: Rounds):
    silence("redis|postgres")
    silence("later", begins=timedelta(hours=1))
    silence("over")
    with unit_of_work() as uow:
        uow.execute("UPDATE alert_silences SET starts_at = now() - interval '2 h', ends_at = now() - interval '1 s'"
                    " WHERE matchers::text LIKE '%over%'")  # fmt: skip
    assert rounds.copy()
    found = copied().silences
    assert sorted(matcher.value for item in found for matcher in item.matchers) == ["later", "redis|postgres"]
    assert found[0].matchers[0].is_regex
    assert known.path_in(settings().run_dir).stat().st_mode & 0o777 == 0o600


def test_who_took_over_is_copied(rounds: Rounds):
    from app import catalog

    now = clock.now()
    with unit_of_work() as uow:
        overrides.create(
            uow,
            catalog.current().telling,
            rotation="first",
            person="ben",
            starts_at=now - timedelta(minutes=1),
            ends_at=now + timedelta(hours=1),
            by="ann",
            now=now,
        )
    assert rounds.copy()
    (swap,) = copied().swaps["first"]
    assert swap.person == "ben"


def test_while_the_database_is_away_the_last_copy_stays(rounds: Rounds, monkeypatch: pytest.MonkeyPatch):
    silence("redis")
    assert rounds.copy()
    monkeypatch.setenv("DATABASE_URL", f"postgresql://smm@127.0.0.1:{local.closed_port()}/smm")
    settings.cache_clear()
    db.dispose()
    assert not rounds.copy()
    assert len(copied().silences) == 1


def test_without_a_readable_copy_people_are_told(home: Path):
    path = known.path_in(home / "run")
    assert known.kept(path) == Known()
    path.write_text('{"silences": [{"id": "x", "matchers": [{"name": "", "value": "x"}]')
    assert known.kept(path) == Known()
    path.write_text('{"silences": [{"id": "x", "matchers": [{"name": "a", "value": "(", "is_regex": true}],'
                    ' "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z", "created_by": "a",'
                    ' "comment": "c"}]}')  # fmt: skip
    assert known.kept(path) == Known()

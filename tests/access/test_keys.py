"""API keys: what is kept, what is refused, and what a process remembers of them."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.access import keys, store
from app.access.directory import FRESH_SECONDS, Directory, Found
from app.access.keys import Key
from app.errors import Conflict, Invalid, NotFound, Transient
from app.infra.db import read_only, unit_of_work
from app.infra.secret import Secret


def make(name: str = "publisher", **more: Any) -> tuple[Secret, Key]:
    given = {"role": "service", "scopes": ["tokens:read:instagram"], "by": "ann", "now": clock.now(), **more}
    with unit_of_work() as uow:
        return keys.create(uow, name, **given)


def find(directory: Directory, secret: Secret) -> Key | None:
    return asyncio.run(directory.find(secret.reveal()))


def listed() -> list[Key]:
    with read_only() as session:
        return keys.list_keys(session)


class Source:
    """Keys as the database would give them; counts how often it is asked, and may be away."""

    def __init__(self, *found: tuple[Secret, Key]) -> None:
        self.found = {keys.digest(secret.reveal()): key for secret, key in found}
        self.asked = 0
        self.is_away = False

    def __call__(self) -> dict[bytes, Key]:
        self.asked += 1
        if self.is_away:
            raise Transient("away")
        return self.found


def given(name: str = "publisher", *, days: float = 1) -> tuple[Secret, Key]:
    """A key that was never stored."""
    now = clock.now()
    secret = Secret(f"smm_{name}")
    return secret, Key(keys.ids.uuid7(), name, keys.Role.SERVICE, (), now, "ann", now + timedelta(days=days))


def aged(directory: Directory, seconds: float) -> None:
    """Let what was read be so much older."""
    found = directory._found
    assert found is not None
    directory._found = Found(found.keys, found.read_at - seconds)


def test_a_key_is_given_once_and_only_its_hash_is_kept(database: str) -> None:
    secret, key = make(days=7)
    assert secret.reveal().startswith("smm_")
    assert len(secret.reveal()) == 47
    with read_only() as session:
        [row] = store.read(session)
    assert bytes(row.hash) == keys.digest(secret.reveal())
    assert secret.reveal() not in repr(row.__dict__)
    assert listed() == [key]
    assert key.document(clock.now())["scopes"] == ["tokens:read:instagram"]
    assert key.expires_at - key.created_at == timedelta(days=7)


@pytest.mark.parametrize("name", ["admin", "tokens", "alerts"])
def test_no_key_is_called_as_a_part_of_the_system_is(database: str, name: str) -> None:
    with pytest.raises(Invalid, match="take another name"):
        make(name)


def test_names_of_keys_in_use_are_unique_and_free_again_afterwards(database: str) -> None:
    first, _ = make()
    with pytest.raises(Conflict, match='there is a key "publisher"'):
        make()
    with unit_of_work() as uow:
        keys.revoke(uow, "publisher", by="ann", now=clock.now())
    with unit_of_work() as uow, pytest.raises(NotFound):
        keys.revoke(uow, "publisher", by="ann", now=clock.now())
    long_ago = clock.now() - timedelta(days=2)
    make(now=long_ago, days=1)
    last, _ = make()
    assert sorted(key.state(clock.now()) for key in listed()) == ["good", "revoked", "revoked"]
    directory = Directory()
    assert find(directory, first) is None
    assert find(directory, last) is not None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "Publisher"}, "name"),
        ({"name": "admin"}, "name"),
        ({"role": "root"}, "role"),
        ({"days": 0}, "days"),
        ({"days": float("nan")}, "days"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["tokens:raed"]}, "scopes[0]"),
        ({"role": "admin"}, "scopes"),
    ],
)
def test_what_is_no_key_is_refused_by_its_field(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as found:
        keys.create(
            None, **{"name": "a", "role": "service", "scopes": ["admissions"], "by": "", **wrong}, now=clock.now()
        )  # type: ignore[arg-type]
    assert [problem.field for problem in found.value.problems] == [field]


def test_a_use_is_noted_once_a_minute(database: str) -> None:
    secret, _ = make()
    directory = Directory()
    assert find(directory, secret) is not None
    [key] = listed()
    assert key.used_at is not None
    with unit_of_work() as uow:
        store.touch(uow, key.id, key.used_at + timedelta(seconds=59))
    assert listed() == [key]
    with unit_of_work() as uow:
        store.touch(uow, key.id, key.used_at + timedelta(seconds=61))
    assert listed() != [key]


def test_a_process_remembers_keys_for_seconds_and_guesses_cost_it_little() -> None:
    secret, key = given()
    source = Source((secret, key))
    directory = Directory(source, lambda _key: None)
    assert find(directory, secret) == key
    for place in range(50):
        assert find(directory, Secret(f"smm_guess{place}")) is None
    assert find(directory, Secret("no-key-of-ours")) is None
    assert find(directory, Secret("smm_" + "x" * 500)) is None
    assert source.asked == 1
    source.found = {}
    assert find(directory, secret) == key
    aged(directory, FRESH_SECONDS)
    assert find(directory, secret) is None
    assert source.asked == 2


def test_a_key_that_was_just_made_is_known_at_once_and_one_that_expires_is_refused_at_its_time() -> None:
    (early, _), (late, key) = given("early", days=-1), given("late")
    source = Source()
    directory = Directory(source, lambda _key: None)
    assert find(directory, late) is None
    source.found = Source(given("early", days=-1), (late, key)).found
    aged(directory, 0.3)
    assert find(directory, late) == key
    assert find(directory, early) is None
    directory.forget()
    assert find(directory, late) == key


def test_while_postgres_is_away_known_keys_go_on_and_others_cannot_be_told() -> None:
    secret, key = given()
    source = Source((secret, key))
    directory = Directory(source, lambda _key: None)
    source.is_away = True
    with pytest.raises(Transient):
        find(directory, secret)
    source.is_away, directory._rest_until = False, 0.0
    assert find(directory, secret) == key
    source.is_away = True
    aged(directory, 60)
    assert find(directory, secret) == key
    with pytest.raises(Transient):
        find(directory, Secret("smm_guess"))
    assert source.asked == 3
    aged(directory, 600)
    with pytest.raises(Transient):
        find(directory, secret)


def test_a_server_that_says_nothing_is_asked_once_and_holds_nobody_up() -> None:
    secret, key = given()
    source, go_on = Source((secret, key)), threading.Event()

    def hang() -> dict[bytes, Key]:
        found = source()
        go_on.wait(20)
        return found

    directory = Directory(hang, lambda _key: None)

    async def ask_many() -> list[object]:
        asking = [directory.find(secret.reveal()) for _ in range(20)]
        gathered = asyncio.gather(*asking, return_exceptions=True)
        while not source.asked:
            await asyncio.sleep(0)
        go_on.set()
        return list(await gathered)

    assert asyncio.run(ask_many()) == [key] * 20
    assert source.asked == 1


def test_what_was_being_read_when_a_key_was_revoked_does_not_bring_it_back() -> None:
    secret, key = given()
    source, go_on = Source((secret, key)), threading.Event()

    def slow() -> dict[bytes, Key]:
        found = dict(source())
        if source.asked == 1:
            go_on.wait(20)
        return found

    directory = Directory(slow, lambda _key: None)

    async def revoke_meanwhile() -> tuple[Key | None, Key | None]:
        before = asyncio.create_task(directory.find(secret.reveal()))
        while not source.asked:
            await asyncio.sleep(0)
        source.found = {}
        directory.forget()
        at_once = await directory.find(secret.reveal())
        go_on.set()
        await before
        return at_once, await directory.find(secret.reveal())

    assert asyncio.run(revoke_meanwhile()) == (None, None)

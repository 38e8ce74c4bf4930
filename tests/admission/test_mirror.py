"""The key in Redis follows Postgres: never backwards, and again after Redis lost it or was away."""

from __future__ import annotations

import json

import pytest

from app import admission
from app.admission import mirror
from app.config import settings
from app.infra import queue, redis
from app.infra.db import unit_of_work
from tests.admission.conftest import Scene
from tests.health import local


def keep(version: int, **more: object) -> None:
    redis.client().set(admission.KEY, json.dumps({"version": version, "operations": {}, **more}))


def test_an_older_document_never_replaces_a_newer_one(scene: Scene) -> None:
    scene.enter("by-hand", wait=["sync"])
    keep(10**15, mark="newer")
    mirror.follow()
    assert scene.mirrored() == {"version": 10**15, "operations": {}, "mark": "newer"}
    keep(0, mark="older")
    mirror.follow()
    mirrored = scene.mirrored()
    assert mirrored is not None
    assert set(mirrored["operations"]) == {"sync"}


@pytest.mark.parametrize("kept", ["no json", "[]", "7", '{"version": "x"}', '{"version": null}'])
def test_what_is_no_document_is_replaced(scene: Scene, kept: str) -> None:
    redis.client().set(admission.KEY, kept)
    mirror.follow()
    assert scene.mirrored() is not None
    redis.client().delete(admission.KEY)
    redis.client().hset(admission.KEY, "a", "b")
    mirror.follow()
    assert scene.mirrored() is not None


def test_a_document_says_what_each_operation_shall_do(scene: Scene) -> None:
    scene.enter("by-hand", wait=["sync"], fall_back=["draft"], reason="ünïcode")
    mirrored = scene.mirrored()
    assert mirrored is not None
    assert set(mirrored) == {"version", "as_of", "operations"}
    assert set(mirrored["operations"]["sync"]) == {"effect", "since", "reason"}
    assert mirrored["operations"]["draft"]["reason"] == "ünïcode"
    assert 0 < redis.client().pttl(admission.KEY) <= mirror.KEPT.total_seconds() * 1000


def test_a_redis_that_was_emptied_knows_it_again_within_a_minute(scene: Scene) -> None:
    scene.enter("by-hand", wait=["sync"])
    redis.client().flushall()
    scene.reconcile()
    mirrored = scene.mirrored()
    assert mirrored is not None
    assert set(mirrored["operations"]) == {"sync"}


def test_a_process_that_dies_right_after_its_commit_leaves_a_job_that_tells_redis(scene: Scene) -> None:
    scene.enter("by-hand", wait=["sync"])
    redis.client().delete(admission.KEY)
    assert scene.work() == 1
    assert scene.mirrored() is not None


def test_while_redis_is_away_the_rows_are_right_and_the_key_follows(
    scene: Scene, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_redis(monkeypatch, f"redis://127.0.0.1:{local.closed_port()}/0")
    scene.enter("by-hand", wait=["sync"])
    assert scene.effects() == {"sync": "wait"}
    use_redis(monkeypatch, redis_server)
    assert scene.mirrored() is None
    scene.work()
    assert scene.mirrored() is not None


def test_modes_are_as_they_were_after_a_restart(scene: Scene) -> None:
    """All that a process knows is in Postgres."""
    scene.fall("qdrant")
    scene.work()
    before = scene.modes()
    from app.infra import db

    db.dispose()
    redis.client.cache_clear()
    with unit_of_work() as uow:
        admission.reconcile(uow)
    assert (scene.modes().version, scene.modes().holds) == (before.version, before.holds)


def use_redis(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    settings.cache_clear()
    redis.client.cache_clear()
    queue.after_fork()

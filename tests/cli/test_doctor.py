"""`smm-admin doctor` on tokens and on the running product: keys, apps, links, and a file that it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.catalog import App
from app.config import settings
from app.infra.db import unit_of_work
from app.infra.supervisor.lock import Lock
from app.tokens import apps_state
from tests.cli.conftest import Ran
from tests.fixtures.answering import Reply, answering
from tests.health.catalogs import use
from tests.tokens.keeping import CATALOGUE, NEW, OLD, OTHER_BYTES, add, use_keys

Doctor = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def doctor(smm: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """What it finds of these checks."""
    use(monkeypatch, home, CATALOGUE)
    use_keys(monkeypatch, OLD)

    def call(*checks: str) -> list[dict[str, Any]]:
        return [one for one in smm("doctor", "--json").json["findings"] if one["check"] in checks]

    return call


@pytest.fixture
def running(doctor: Doctor) -> Iterator[None]:
    """The supervisor's lock is held."""
    lock = Lock(settings())
    yield
    lock.release()


def test_keys_that_are_missing_or_wrong_are_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    [fine] = doctor("token keys")
    assert (fine["ok"], fine["detail"]) == (True, "k1; k1 seals")
    add("1")
    use_keys(monkeypatch, NEW)
    _, missing = doctor("token keys")
    assert (missing["ok"], missing["detail"]) == (False, "k1 is missing: 1 token is sealed")
    use_keys(monkeypatch, OTHER_BYTES)
    _, wrong = doctor("token keys")
    assert not wrong["ok"]
    assert wrong["detail"].startswith("k1 has other bytes")
    monkeypatch.setenv("SMM_TOKEN_KEYS", "")
    settings.cache_clear()
    [lost] = doctor("token keys")
    assert not lost["ok"]
    assert "k1" in lost["detail"]
    assert not (home / "token.keys").exists()
    monkeypatch.setenv("SMM_TOKEN_KEYS", "nonsense")
    settings.cache_clear()
    assert "is no ID:BASE64" in doctor("token keys")[0]["detail"]


def test_apps_that_are_held_are_named(doctor: Doctor) -> None:
    assert doctor("apps") == []
    with unit_of_work() as uow:
        app = App(name="instagram-eu", platform="instagram")
        apps_state.refused(uow, app, reason="invalid_client", detail="", until=clock.now())
    [held] = doctor("apps")
    assert (held["ok"], held["detail"][:39]) == (False, "instagram-eu: refused (invalid_client),")


def test_links_that_only_this_host_opens_are_a_hint(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    [hint] = doctor("links")
    assert (hint["ok"], hint["hint"]) == (True, True)
    assert "set SMM_PUBLIC_URL" in hint["advice"]
    monkeypatch.setenv("SMM_PUBLIC_URL", "https://social.example.com")
    settings.cache_clear()
    assert doctor("links") == []


@pytest.mark.usefixtures("running")
def test_a_file_that_the_running_product_refuses_is_not_called_fine(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (
        "the catalogue file is broken, the last good one stays in force: apps.x: the environment variable S is not set"
    )
    with answering({"GET /health": Reply(503, {"notices": ["another", broken]})}) as web:
        monkeypatch.setenv("SMM_WEB_PORT", str(web.port))
        settings.cache_clear()
        [found] = doctor("catalogue")
        assert not found["ok"]
        assert found["detail"].endswith("apps.x: the environment variable S is not set")
        for reply in (Reply(200, {"notices": []}), Reply(200, ["odd"]), Reply(500, b"odd")):
            web.routes["GET /health"] = reply
            [found] = doctor("catalogue")
            assert found["ok"]

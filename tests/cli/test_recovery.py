"""`smm-admin recovery`: read at three in the morning, stopped even while Postgres is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.config import settings
from app.infra import db
from app.recovery import control
from app.recovery.core import Done
from tests.cli.conftest import Ran
from tests.health import local
from tests.recovery.field import PLAYBOOK, Field, play, service_of

__all__ = ["play"]

Smm = Callable[..., Ran]


@pytest.fixture
def field(smm: Smm, play: Any) -> Field:
    """Two services with containers, both watched."""
    found: Field = play.begin(service_of("qdrant") + service_of("shop") + PLAYBOOK)
    return found


def test_a_run_is_listed_and_shown_with_all_it_did(smm: Smm, field: Field) -> None:
    field.poke.result = lambda work: Done("poked it", {"queries": [{"pid": 7, "query": "SELECT 1"}], "took_ms": 3})
    field.fall("qdrant")
    field.work()
    (run,) = smm("recovery", "list", "--json").json["runs"]
    assert "escalated" in smm("recovery", "list", "--service", "qdrant").out
    assert smm("recovery", "list", "--open").out == "no runs\n"
    assert smm("recovery", "list", "--incident", run["incident_id"][:20], "--json").json["runs"] == [run]
    shown = smm("recovery", "show", run["id"][:20])
    assert shown.code == 0
    assert shown.out.startswith("restart for qdrant: escalated\n  every step was taken, and it did not help\n")
    assert "1  done" in shown.out
    assert "poke claw-qdrant" in shown.out
    assert "pid 7, query SELECT 1" in shown.out
    assert f"smm-admin incidents show {run['incident_id']}" in shown.out
    assert shown.out.endswith("what to do\n  look at qdrant\n")


def test_a_person_starts_and_aborts_by_the_beginning_of_an_id(smm: Smm, field: Field) -> None:
    made = smm("recovery", "run", "restart", "shop", "--by", "ann", "--json").json
    assert made["started_by"] == "ann"
    again = smm("recovery", "run", "restart", "shop")
    assert (again.code, again.out) == (1, "")
    assert "is running for shop already" in again.err
    assert f"abort {made['id']}" in smm("recovery", "show", made["id"]).out
    assert smm("recovery", "abort", made["id"][:20], "--by", "bob").code == 0
    field.work()
    assert "restart for shop: aborted\n  aborted by bob" in smm("recovery", "show", made["id"]).out
    assert smm("recovery", "abort", made["id"]).code == 1


def test_a_dry_run_says_what_it_would_do(smm: Smm, field: Field) -> None:
    ran = smm("recovery", "run", "restart", "shop", "--dry-run")
    assert "restart begins for shop (dry run)" in ran.out
    field.work()
    assert "would do: poke claw-shop" in smm("recovery", "show", ran.out.split()[0]).out
    assert field.poke.asked == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "restrat", "shop"), 1, "did you mean"),
        (("run", "restart", "shp"), 1, "did you mean"),
        (("run", "restart"), 2, "service"),
        (("show", "zz"), 2, "is no id"),
        (("show", "0123456789"), 1, "no run has an id that begins with 0123456789"),
        (("list", "--cursor", "x"), 2, "--cursor"),
        (("list", "--incident", "0123456789"), 1, "no incident"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    smm: Smm, field: Field, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = smm("recovery", *words)
    assert ran.code == code
    assert said in ran.err


def test_playbooks_and_guards_read_as_sentences(smm: Smm, field: Field) -> None:
    text = smm("recovery", "playbooks").out
    assert text.startswith("restart\n  starts: health.down\n")
    assert 'unless: service.container ""' in text
    assert "1  poke: word {service.container}" in text
    assert smm("recovery", "playbooks", "--json").json["playbooks"][0]["name"] == "restart"
    field.fall("qdrant")
    field.work()
    text = smm("recovery", "guards").out
    assert "1 of 10 in the last hour" in text
    assert "qdrant 1 of 3" in text
    assert smm("recovery", "guards", "--json").json["stopped"] is None


def test_stop_and_resume(smm: Smm, field: Field) -> None:
    ran = smm("recovery", "stop", "--reason", "moving house", "--by", "ann")
    assert (ran.code, "is stopped" in ran.out) == (0, True)
    assert smm("recovery", "guards").out.startswith("STOPPED by ann since ")
    assert ": moving house\n" in smm("recovery", "guards").out
    assert smm("recovery", "resume").out == "recovery goes on\n"
    assert smm("recovery", "guards", "--json").json["stopped"] is None


@pytest.mark.parametrize("silent", [False, True], ids=["refusing", "silent"])
def test_without_postgres_a_stop_reaches_the_watchdog_and_says_that_it_is_half_done(
    smm: Smm, field: Field, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    with local.silent_port() as port:
        there = port if silent else local.closed_port()
        monkeypatch.setenv("DATABASE_URL", f"postgresql://smm:s3cret@127.0.0.1:{there}/smm?connect_timeout=2")
        settings.cache_clear()
        db.dispose()
        ran = smm("recovery", "stop", "--reason", "moving house", "--by", "ann")
        assert (ran.code, ran.out) == (1, "")
        assert "ONLY HALF STOPPED" in ran.err
        assert str(control.stop_file()) in ran.err
        assert "s3cret" not in ran.err
        found = control.kept(control.stop_file())
        assert found is not None
        assert (found.by, found.reason) == ("ann", "moving house")
        ran = smm("recovery", "resume")
        assert ran.code == 1
        assert "ONLY HALF RESUMED" in ran.err
        assert control.kept(control.stop_file()) is None

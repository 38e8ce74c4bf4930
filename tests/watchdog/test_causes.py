"""One page a problem: a symptom of a fallen cause is neither recorded as a fall nor handed on as one."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.health.core import State
from tests.health import catalogs, local
from tests.health.catalogs import tcp
from tests.watchdog.watching import OURS, Watching

CRITICAL = {**OURS, "severity": '"critical"'}


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port), backlog=64):
        yield


def test_a_fall_is_handed_on_each_turn_until_the_recovery(home: Path, monkeypatch: pytest.MonkeyPatch):
    port = local.closed_port()
    catalogs.use(monkeypatch, home, tcp("port", port, **CRITICAL) + tcp("minor", port, **OURS))
    watching = Watching(home / "run")
    watching.until(lambda: "port" in watching.told.standing)
    watching.until(lambda: watching.state("minor") is State.DOWN)
    with listening(port):
        watching.until(lambda: "port" not in watching.told.standing)
    assert watching.told.names == ["port"]


def test_what_depends_on_a_fallen_service_is_not_called_down(home: Path, monkeypatch: pytest.MonkeyPatch):
    cause, symptom = local.closed_port(), local.closed_port()
    near = tcp("near", symptom, **CRITICAL, depends_on='["cause"]')
    far = tcp("far", symptom, **CRITICAL, depends_on='["near"]')
    catalogs.use(monkeypatch, home, tcp("cause", cause, **CRITICAL) + near + far)
    watching = Watching(home / "run")
    with listening(cause), listening(symptom):
        watching.until(lambda: {watching.state(name) for name in ("cause", "near", "far")} == {State.UP})
    watching.until(lambda: watching.state("cause") is State.DOWN)
    watching.turns(4)
    assert watching.told.names == ["cause"]
    assert {watching.state(name) for name in ("near", "far")} == {State.UP}
    with listening(cause):
        watching.until(lambda: watching.state("cause") is State.UP)
        watching.until(lambda: {"near", "far"} & watching.told.standing != set())
    assert watching.told.names == ["cause", "near"]


def test_before_a_fall_its_causes_are_asked_however_rarely_they_are_probed(home: Path, monkeypatch: pytest.MonkeyPatch):
    cause, symptom = local.closed_port(), local.closed_port()
    rare = {**CRITICAL, "interval": 3600}
    depending = tcp("symptom", symptom, **CRITICAL, depends_on='["cause"]')
    catalogs.use(monkeypatch, home, tcp("cause", cause, **rare) + depending)
    watching = Watching(home / "run")
    with listening(cause), listening(symptom):
        watching.until(lambda: {watching.state(name) for name in ("cause", "symptom")} == {State.UP})
    watching.until(lambda: watching.told.names != [])
    watching.turns(3)
    assert watching.told.names == ["cause"]


def test_a_cause_that_is_well_hides_nothing(home: Path, monkeypatch: pytest.MonkeyPatch, silent_port: int):
    depending = tcp("symptom", local.closed_port(), **CRITICAL, depends_on='["cause"]')
    catalogs.use(monkeypatch, home, tcp("cause", silent_port, **CRITICAL) + depending)
    watching = Watching(home / "run")
    started = time.monotonic()
    watching.until(lambda: watching.told.names == ["symptom"])
    assert time.monotonic() - started < 10


def test_a_cause_that_nobody_is_told_of_at_once_hides_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    minor = tcp("cause", local.closed_port(), **OURS, severity='"warning"')
    depending = tcp("symptom", local.closed_port(), **CRITICAL, depends_on='["cause"]')
    catalogs.use(monkeypatch, home, minor + depending)
    watching = Watching(home / "run")
    watching.until(lambda: watching.told.names == ["symptom"])

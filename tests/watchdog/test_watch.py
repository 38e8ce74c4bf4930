"""The watch in this process, turn by turn: its files cannot be written, its catalogue changes, its probe hangs."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from app import clock
from app.health.core import State
from app.recovery.core import Runner
from app.watchdog.sights import Sight
from app.watchdog.watch import Watchdog
from tests.health import catalogs, local
from tests.health.catalogs import tcp
from tests.watchdog.watching import OURS, Watching


def test_a_disk_that_takes_no_file_does_not_stop_the_watch(home: Path, monkeypatch: pytest.MonkeyPatch):
    catalogs.use(monkeypatch, home, tcp("port", local.closed_port(), **OURS))
    watching = Watching(Path("/dev/null/full"))
    watching.until(lambda: len(watching.spool) >= 3)
    assert {result.error.code for _, result in watching.spool.first(3)} == {"refused"}


def test_services_that_come_and_go_in_the_catalogue_are_followed(home: Path, monkeypatch: pytest.MonkeyPatch):
    file = catalogs.use(monkeypatch, home, tcp("old", local.closed_port(), **OURS))
    watching = Watching(home / "run")
    watching.until(lambda: watching.state("old") is State.DOWN)
    with local.silent_port() as port:
        file.write_text(tcp("new", port, **OURS) + tcp("engines", port))
        os.utime(file, (1, 1))
        watching.until(lambda: watching.state("new") is State.UP)
    assert set(watching.file().services) == {"new"}


def test_a_broken_catalogue_keeps_the_last_good_one(home: Path, monkeypatch: pytest.MonkeyPatch):
    with local.silent_port() as port:
        file = catalogs.use(monkeypatch, home, tcp("port", port, **OURS))
        watching = Watching(home / "run")
        watching.until(lambda: watching.state("port") is State.UP)
        file.write_text("[services.port\n")
        os.utime(file, (1, 1))
    watching.until(lambda: watching.state("port") is State.DOWN)


def test_while_unconfirmed_a_hanging_port_is_asked_with_short_timeouts(home: Path, monkeypatch: pytest.MonkeyPatch):
    with local.silent_port() as port:
        options = {**OURS, "timeout": 4, "expect": '"x"'}
        catalogs.use(monkeypatch, home, tcp("port", port, **options))
        watching = Watching(home / "run")
        watching.until(lambda: watching.state("port") is State.DOWN)
    took = [(result.finished_at - result.started_at).total_seconds() for _, result in watching.spool.first(3)]
    assert [round(seconds) for seconds in took] == [4, 2, 2]


def test_a_level_stands_over_a_restart_until_the_reading_is_past_the_margin(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    def levels(watching: Watching) -> dict[str, str] | None:
        found = watching.file()
        last = found.services["disk"].last if found is not None and "disk" in found.services else None
        return None if last is None else dict(last.levels)

    used = psutil.disk_usage("/").percent
    service = '[services.disk]\nkind = "disk"\npath = "/"\nwatched_by = "watchdog"\ninterval = 1\n'
    limits = "thresholds.used_percent = {{warning = {:f}, margin = {}}}\n".format
    file = catalogs.use(monkeypatch, home, service + limits(used * 0.9, 0.5))
    watching = Watching(home / "run")
    watching.until(lambda: levels(watching) == {"used_percent": "warning"})
    file.write_text(service + limits(used * 1.3, 0.5))
    os.utime(file, (1, 1))
    again = Watching(home / "run")
    again.until(lambda: len(again.spool) > 0)
    assert levels(again) == {"used_percent": "warning"}
    file.write_text(service + limits(used * 1.3, 0.05))
    os.utime(file, (2, 2))
    again.until(lambda: levels(again) == {})


class Seen:
    """What the watch hands on to whoever repairs."""

    def __init__(self) -> None:
        self.sights: list[Sight] = []
        self.gone: list[str] = []

    def saw(self, sight: Sight) -> None:
        self.sights.append(sight)

    def lost(self, name: str) -> None:
        self.gone.append(name)


def seeing(home: Path) -> tuple[Watching, Seen]:
    watching, seen = Watching(home / "run"), Seen()
    watching.dog = Watchdog(watching.run_dir, watching.spool, lambda: None, watching.told, repairs=seen)
    return watching, seen


def test_what_it_sees_of_a_service_is_handed_on_each_time(home: Path, monkeypatch: pytest.MonkeyPatch):
    file = catalogs.use(monkeypatch, home, tcp("port", local.closed_port(), container='"claw-port"', **OURS))
    watching, seen = seeing(home)
    watching.until(lambda: seen.sights and seen.sights[-1].standing.state is State.DOWN)
    last = seen.sights[-1]
    assert [sight.standing.state for sight in seen.sights] == [State.UNKNOWN, State.UNKNOWN, State.DOWN]
    assert (last.ok, last.text, last.standing.announced) == (False, "connection refused", State.DOWN)
    assert last.standing.error == {"code": "refused", "text": "connection refused"}
    assert last.standing.runner is Runner.WATCHDOG
    file.write_text(tcp("other", local.closed_port(), **OURS))
    os.utime(file, (1, 1))
    watching.until(lambda: seen.gone == ["port"])


def test_a_probe_that_is_asked_for_is_made_at_once_and_after_the_one_under_way(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    with local.silent_port() as port:
        options = {**OURS, "interval": 3600, "timeout": 2, "expect": '"x"', "failures_to_down": 1}
        catalogs.use(monkeypatch, home, tcp("port", port, **options))
        watching, seen = seeing(home)
        watching.dog.step(0.1)
        asked = clock.monotonic()
        watching.dog.ask("port")
        watching.dog.ask("no-such")
        watching.until(lambda: len(seen.sights) == 2)
        first, second = seen.sights
        assert first.probed < asked < second.probed
        asked = clock.monotonic()
        watching.dog.ask("port")
        watching.until(lambda: len(seen.sights) == 3)
        assert seen.sights[-1].probed - asked < 1

"""A file that is edited while processes run."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.catalog import Catalog
from app.catalog.current import Current
from app.errors import Invalid, Problem

ONE = '[services.web]\nkind = "http"\n'
TWO = ONE + '[services.api]\nkind = "http"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "smm.toml"
    path.write_text(ONE)
    return path


def watch(file: Path) -> Current:
    return Current(file, file.parent / "home" / "last-good.toml", [lambda _catalog: []])


def until(fact: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def test_a_changed_file_is_taken_up_within_two_seconds(file: Path) -> None:
    current = watch(file)
    assert set(current.get().services) == {"web"}
    file.write_text(TWO)
    until(lambda: set(current.get().services) == {"web", "api"}, 2)


def test_a_broken_file_keeps_the_last_good_one_and_says_so(file: Path) -> None:
    current = watch(file)
    good = current.get()
    file.write_text(ONE + "interval = 0\n")
    until(lambda: current.get() is good and current.problem is not None)
    assert current.problem is not None
    assert "smm.toml:3: services.web.interval: must be at least 1" in current.problem
    file.write_text(TWO)
    until(lambda: bool(current.get()) and current.problem is None)
    assert len(current.get().services) == 2


def test_a_deleted_file_keeps_the_last_good_one(file: Path) -> None:
    current = watch(file)
    good = current.get()
    file.unlink()
    until(lambda: current.get() is good and current.problem is not None)


def test_a_process_started_while_the_file_is_broken_runs_on_the_kept_copy(file: Path) -> None:
    digest = watch(file).get().digest
    file.write_text("[services.web")
    fresh = watch(file)
    assert fresh.get().digest == digest
    assert fresh.problem is not None


def test_without_any_good_copy_a_broken_file_is_an_error(file: Path) -> None:
    file.write_text("[services.web")
    with pytest.raises(Invalid, match="expected"):
        watch(file).get()


def test_the_kept_copy_is_for_its_owner_only(file: Path) -> None:
    current = watch(file)
    current.get()
    assert current.kept.read_text() == ONE
    assert stat.S_IMODE(current.kept.stat().st_mode) == 0o600
    assert [entry.name for entry in current.kept.parent.iterdir()] == ["last-good.toml"]


def test_a_process_without_checks_keeps_no_copy(file: Path) -> None:
    current = watch(file)
    current.checks.clear()
    current.get()
    assert not current.kept.exists()


def test_a_copy_that_cannot_be_kept_stops_nothing(file: Path) -> None:
    (file.parent / "home").write_text("a file where a folder should be")
    assert set(watch(file).get().services) == {"web"}


def test_a_file_in_an_editors_hands_is_left_until_it_settles(file: Path) -> None:
    current = watch(file)
    current.get()
    current._look_at = 0
    file.write_text("")
    current.get()
    assert current.problem is None
    file.write_text(TWO)
    until(lambda: len(current.get().services) == 2)
    assert current.problem is None


def test_checks_given_later_judge_the_next_reading(file: Path) -> None:
    current = watch(file)
    good = current.get()
    current.checks.append(lambda catalog: [Problem("services.web.kind", "is odd")] if len(catalog.services) > 1 else [])
    file.write_text(TWO)
    until(lambda: bool(current.get()) and current.problem is not None)
    assert current.get() is good


def test_a_child_forked_while_the_file_was_being_read_is_not_stuck(file: Path) -> None:
    current = watch(file)
    current.get()
    with current._lock:
        child = os.fork()
        if child == 0:
            current.unlock()
            current._look_at = 0
            os._exit(0 if isinstance(current.get(), Catalog) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_asking_often_costs_nearly_nothing(file: Path) -> None:
    current = watch(file)
    current.get()
    started = time.perf_counter()
    for _ in range(10_000):
        current.get()
    assert time.perf_counter() - started < 0.5

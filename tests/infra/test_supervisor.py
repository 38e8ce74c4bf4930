"""The supervisor over small real processes: their lines, their deaths, their end."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.config import settings
from app.errors import Conflict, Misconfigured
from app.infra.supervisor import output, procfile
from app.infra.supervisor.lock import Lock, holder, read_state
from app.infra.supervisor.process import Process
from app.infra.supervisor.restarts import LONGEST_SECONDS, Backoff, Pulse
from app.infra.supervisor.supervisor import Supervisor
from tests.fixtures.waiting import until

LINE = re.compile(r"^\d\d:\d\d:\d\d (?P<name>\S+) +\| (?P<text>.*)$")
PATIENT = """sh -c 'trap "echo got TERM; exit 0" TERM; echo here; while :; do sleep 0.05; done'"""
STUBBORN = """sh -c 'trap "" TERM QUIT; echo here; while :; do sleep 0.05; done'"""


class Run:
    """A supervisor under test and what it said."""

    def __init__(self, home: Path, text: str, **environment: str) -> None:
        self.home = home
        self._procfile = home / "Procfile"
        self._procfile.write_text(text)
        self._output = home / "output"
        elsewhere = {"DATABASE_URL": "postgresql://elsewhere/x", "REDIS_URL": "redis://elsewhere"}
        self._environment = {**os.environ, **elsewhere, **environment}
        self.process = self.again()

    def again(self, stdout: int | None = None) -> subprocess.Popen[bytes]:
        with self._output.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.infra.supervise", str(self._procfile)],
                env=self._environment,
                stdout=file if stdout is None else stdout,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def lines(self) -> list[tuple[str, str]]:
        text = self._output.read_text()
        found = [LINE.match(line) for line in text.splitlines()[: text.count("\n")]]
        assert all(found), text
        return [(match["name"], match["text"]) for match in found if match]

    def said(self, name: str, text: str) -> int:
        """How often a process said a line that begins with `text`."""
        return sum(who == name and what.startswith(text) for who, what in self.lines())

    def wait_for(self, name: str, text: str, times: int = 1) -> None:
        until(lambda: self.said(name, text) >= times, what=f"{name}: {text}")

    def pid_of(self, name: str) -> int:
        return until(lambda: read_state(settings()).get("processes", {}).get(name, {}).get("pid"), what=name)

    def stop(self, sig: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(sig)
        return self.process.wait(timeout=20)


@pytest.fixture
def runs(home: Path) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        if run.process.poll() is None:
            run.process.terminate()
            run.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.process.wait(timeout=20)
        run.process.kill()


def test_lines_are_whole_and_say_whose_they_are(home: Path, runs: list[Run]) -> None:
    pieces = """sh -c 'for i in 1 2 3 4 5; do printf first-; sleep 0.02; echo second; done; sleep 60'"""
    run = Run(home, f"a: {pieces}\nb: {pieces}")
    runs.append(run)
    for name in ("a", "b"):
        run.wait_for(name, "first-second", times=5)
    assert {text for who, text in run.lines() if who in ("a", "b")} == {"first-second"}
    assert run.stop() == 0


def test_what_dies_is_started_again_after_growing_pauses_with_its_exit_told(home: Path, runs: list[Run]) -> None:
    run = Run(home, "dies: sh -c 'exit 7'\nlives: " + PATIENT)
    runs.append(run)
    run.wait_for("smm-admin", "dies ended (exit code 7); starting again in 1 s")
    run.wait_for("smm-admin", "dies ended (exit code 7); starting again in 2 s")
    run.wait_for("smm-admin", "dies struggles")
    os.kill(run.pid_of("lives"), signal.SIGKILL)
    run.wait_for("smm-admin", "lives ended (signal SIGKILL); starting again in 1 s")
    run.wait_for("lives", "here", times=2)
    assert run.said("smm-admin", "lives ended") == 1


def test_beat_stops_first_and_everyone_may_finish(home: Path, runs: list[Run]) -> None:
    run = Run(home, f"web: {PATIENT}\nbeat: {PATIENT}\nworker: {PATIENT}")
    runs.append(run)
    for name in ("web", "beat", "worker"):
        run.wait_for(name, "here")
    assert run.stop(signal.SIGTERM) == 0
    told = run.lines()
    beat_stopped = told.index(("smm-admin", "beat stopped (exit code 0)"))
    assert beat_stopped < told.index(("web", "got TERM"))
    assert beat_stopped < told.index(("worker", "got TERM"))
    assert told[-1] == ("smm-admin", "stopped")
    assert not (home / "run" / "supervisor.json").exists()


def test_what_does_not_stop_is_forced_with_its_whole_group(home: Path, runs: list[Run]) -> None:
    run = Run(home, f"""parent: sh -c 'trap "" TERM QUIT; sleep 300 & echo child $$!; wait; {"sleep 300"}'""")
    runs.append(run)
    run.wait_for("parent", "child")
    child = int(next(text for who, text in run.lines() if who == "parent").split()[1])
    for _ in range(3):
        run.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(timeout=0.5)
    assert run.process.wait(timeout=20) == 0
    assert run.said("smm-admin", "SIGKILL to parent") == 1
    until(lambda: not _runs(child), what="the grandchild's end")


def test_shutdown_waits_no_longer_than_it_was_told(home: Path, runs: list[Run]) -> None:
    quits = """sh -c 'trap "" TERM; trap "echo got QUIT; exit 0" QUIT; echo here; while :; do sleep 0.05; done'"""
    run = Run(home, f"slow: {quits}", SMM_SHUTDOWN_SECONDS="0.3")
    runs.append(run)
    run.wait_for("slow", "here")
    assert run.stop() == 0
    assert run.said("slow", "got QUIT") == 1


def test_a_second_supervisor_of_the_same_home_is_refused_with_the_firsts_pid(home: Path, runs: list[Run]) -> None:
    run = Run(home, f"lives: {PATIENT}")
    runs.append(run)
    run.wait_for("lives", "here")
    assert holder(settings()) == run.process.pid
    with pytest.raises(Conflict, match=rf"already running \(pid {run.process.pid}\)"):
        Lock(settings())
    assert run.stop() == 0
    assert holder(settings()) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="children end with their parent on Linux only")
def test_processes_do_not_outlive_a_killed_supervisor(home: Path, runs: list[Run]) -> None:
    run = Run(home, f"lives: {PATIENT}")
    runs.append(run)
    run.wait_for("lives", "here")
    child = run.pid_of("lives")
    run.process.kill()
    run.process.wait(timeout=5)
    until(lambda: not _runs(child), what="the child's end")


def test_leftovers_of_a_killed_run_are_ended_and_strangers_are_not(home: Path, runs: list[Run]) -> None:
    sleep = ["sleep", "300"]
    marked = {**os.environ, "SMM_HOME": str(home.resolve()), "SMM_PROCESS": "worker"}
    left = subprocess.Popen(sleep, env=marked)
    stranger = subprocess.Popen(sleep, env={**marked, "SMM_HOME": "/elsewhere"})
    try:
        run = Run(home, f"lives: {PATIENT}")
        runs.append(run)
        run.wait_for("smm-admin", "ending 1 processes that an earlier run left behind")
        assert left.wait(timeout=10) == -signal.SIGTERM
        assert stranger.poll() is None
    finally:
        for process in (left, stranger):
            process.kill()
            process.wait(timeout=5)


def test_a_reader_that_does_not_read_stops_nobody(home: Path, runs: list[Run]) -> None:
    done = home / "done"
    run = Run(home, "idle: sleep 300")
    runs.append(run)
    run.stop()
    (home / "Procfile").write_text(f"flood: sh -c 'seq 150000; touch {done}; sleep 300'")
    reader, writer = os.pipe()
    run.again(stdout=writer)
    os.close(writer)
    until(done.exists, what="the end of the flood")
    with os.fdopen(reader, "rb") as pipe:
        run.process.send_signal(signal.SIGTERM)
        assert b"lines lost: the reader is too slow" in pipe.read()
    assert run.process.wait(timeout=20) == 0


def test_a_reader_that_went_away_stops_nobody(home: Path, runs: list[Run]) -> None:
    ticks = home / "ticks"
    run = Run(home, "idle: sleep 300")
    runs.append(run)
    run.stop()
    (home / "Procfile").write_text(f"ticks: sh -c 'while :; do echo tick; echo x >> {ticks}; sleep 0.05; done'")
    reader, writer = os.pipe()
    run.again(stdout=writer)
    os.close(writer)
    os.close(reader)
    until(lambda: ticks.exists() and ticks.stat().st_size > 20, what="ten ticks")
    assert run.stop(signal.SIGTERM) == 0


def test_on_a_terminal_lines_are_for_people_and_its_closing_stops_everything(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "Procfile").write_text("lives: sh -c 'echo format $SMM_LOG_FORMAT; exec sleep 300'\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/x")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "tests.infra.supervise", str(home / "Procfile")])
    seen = b""
    while b"format console" not in seen:
        seen += os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert holder(settings()) is None


def test_a_hangup_without_a_terminal_asks_for_another_look_at_the_configuration(home: Path, runs: list[Run]) -> None:
    run = Run(home, f"lives: {PATIENT}")
    runs.append(run)
    run.wait_for("lives", "here")
    run.process.send_signal(signal.SIGHUP)
    run.wait_for("smm-admin", "looked at again")
    assert run.stop() == 0


def test_ctrl_c_during_preparation_leaves_nothing_running(home: Path, runs: list[Run]) -> None:
    run = Run(home, f"lives: {PATIENT}")
    runs.append(run)
    until(lambda: holder(settings()) == run.process.pid, what="the lock")
    run.process.send_signal(signal.SIGINT)
    run.process.wait(timeout=20)
    assert holder(settings()) is None
    assert not [process for process in psutil.process_iter() if _home_of(process) == str(home.resolve())]


def _home_of(process: psutil.Process) -> str | None:
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    return environment.get("SMM_HOME") if environment.get("SMM_PROCESS") else None


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_back_off_doubles_to_its_ceiling_and_forgets_after_a_minute_alive() -> None:
    waits, backoff = [], Backoff()
    for _ in range(7):
        wait, backoff = backoff.after_death(alive_seconds=1)
        waits.append(wait)
    assert waits == [1, 2, 4, 8, 16, LONGEST_SECONDS, LONGEST_SECONDS]
    wait, backoff = backoff.after_death(alive_seconds=61)
    assert wait == 1
    assert backoff.after_death(alive_seconds=1)[0] == 2


def test_a_heartbeat_is_silent_only_after_a_minute_in_which_we_watched() -> None:
    pulse = Pulse()
    for at in range(0, 70, 5):
        pulse = pulse.seen(None, at=at)
    assert not pulse.is_silent(at=70), "a file that never existed says nothing"
    for at in range(70, 131, 5):
        pulse = pulse.seen(42, at=at)
    assert not pulse.is_silent(at=130)
    pulse = pulse.seen(42, at=135)
    assert pulse.is_silent(at=135)
    assert not pulse.seen(43, at=140).is_silent(at=140)
    assert not pulse.seen(42, at=4000).is_silent(at=4000), "we slept ourselves"


def test_what_fell_silent_has_the_time_of_a_shutdown_before_it_is_killed(home: Path) -> None:
    config = settings()
    process = Process("deaf", ["sleep", "60"], environment=dict(os.environ), cwd=home)
    told = output.Output(output.Stream(1), ["deaf"], colour=False, readable=True)
    supervisor = Supervisor(config, [process], output=told)
    process.spawn(at=0)
    try:
        (config.run_dir / "deaf.heartbeat").touch()
        for now in range(5, 75, 5):
            supervisor._feel_pulse(process, now)
        assert process.kill_at == 70 + config.shutdown_seconds
    finally:
        process.kill()
        process.close_output()
        until(lambda: process.poll() is not None, what="its end")


def test_the_procfile_is_read_with_its_mistakes_named() -> None:
    [entry] = procfile.parse("# comment\n\nweb: python -m x --dir {run}/a 'b c' $WHERE\n")
    words = entry.arguments(environment={"WHERE": "two words"}, run=Path("/r"))
    assert words == [sys.executable, "-m", "x", "--dir", "/r/a", "b c", "two words"]
    with pytest.raises(Misconfigured, match="web: unset or unreadable variable 'WHERE'"):
        entry.arguments(environment={}, run=Path("/r"))
    for text, message in (
        ("web\n", "line 1: expected"),
        ("a: x\na: y\n", "line 2: a second"),
        ("a: 'x\n", "line 1: No clos"),
    ):
        with pytest.raises(Misconfigured, match=message):
            procfile.parse(text)


def test_processes_are_chosen_by_name() -> None:
    entries = procfile.parse("web: x\nbeat: x\nflower: x\n")
    assert [entry.name for entry in procfile.select(entries, only=["beat", "web"])] == ["web", "beat"]
    assert [entry.name for entry in procfile.select(entries, but=["web"])] == ["beat", "flower"]
    with pytest.raises(Misconfigured, match="no process named 'wbe'"):
        procfile.select(entries, only=["wbe"])


def test_json_lines_pass_unchanged_where_no_person_reads(home: Path) -> None:
    path = home / "log" / "x.log"
    told = output.Output(output.RotatingFile(path), ["web"], colour=False, readable=False)
    told.line("web", b'{"event": "started"}')
    told.line("web", b"\x1b[31mTraceback\x1b[0m")
    assert path.read_text().splitlines()[0] == '{"event": "started"}'
    assert LINE.match(path.read_text().splitlines()[1])["text"] == "Traceback"  # type: ignore[index]


def test_a_log_is_bounded(home: Path) -> None:
    path = home / "log" / "x.log"
    log = output.RotatingFile(path, max_bytes=1000, keep=2)
    for number in range(100):
        log.write(f"{number:049d}\n".encode())
    sizes = [file.stat().st_size for file in path.parent.glob("x.log*")]
    assert len(sizes) == 3
    assert max(sizes) <= 1000
    assert path.read_text().splitlines()[-1] == f"{99:049d}"


def test_a_log_that_cannot_be_written_costs_lines_only_and_says_how_many(home: Path) -> None:
    path = home / "later" / "x.log"
    log = output.RotatingFile(path)
    log.write(b"lost\n")
    log.write(b"lost\n")
    path.parent.mkdir()
    log.write(b"kept\n")
    assert path.read_text() == "(2 lines lost: the log could not be written)\nkept\n"

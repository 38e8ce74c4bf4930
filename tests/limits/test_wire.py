"""The scripts' own connection: whatever the server does, a call answers or is Transient within its time-out."""

from __future__ import annotations

import os
import signal
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.config import Settings, settings
from app.errors import Misconfigured, Transient
from app.infra import embedded, redis
from app.limits import wire
from app.limits.wire import Script
from tests.fixtures.waiting import until

KEY = "smm:limits:id:wire"
LONGEST_SECONDS = 2.5
"""A connection and a call have a second each."""


@dataclass
class Server:
    """A Valkey of a test's own."""

    url: str
    process: embedded.Server

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One that a test may freeze, fill and demote."""
    elsewhere = SecretStr("postgresql://elsewhere/none")
    running = embedded.servers(Settings(home=home, database_url=elsewhere, redis_url=None))
    embedded.start(running)
    try:
        use(monkeypatch, running[0].url)
        yield Server(running[0].url, running[0])
    finally:
        os.kill(running[0].pid or 0, signal.SIGCONT)
        embedded.stop(running)
        redis.client.cache_clear()


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """From now on this is the server."""
    monkeypatch.setenv("REDIS_URL", url)
    settings.cache_clear()
    redis.client.cache_clear()


@pytest.fixture
def script() -> Script:
    return Script("waiting")


def saying(text: str) -> Script:
    """A script of a test's own."""
    script = Script("waiting")
    script.text, script.sha = text, redis.client().script_load(text).encode()
    return script


def note(script: Script, key: str = KEY, operation: str = "reply") -> int:
    """1: it was written down."""
    return int(script.call([key], [60_000, operation]))


@contextmanager
def bounded() -> Iterator[None]:
    """It is Transient, and soon."""
    started = time.monotonic()
    with pytest.raises(Transient):
        yield
    assert time.monotonic() - started < LONGEST_SECONDS


def test_a_script_that_the_server_does_not_know_is_loaded(redis_server: str, script: Script) -> None:
    redis.client().script_flush()
    assert note(script) == 1
    redis.client().script_flush()
    assert script.call_many([([f"{KEY}{number}"], [60_000, "reply"]) for number in range(3)]) == [1, 1, 1]


def test_a_batch_runs_once_where_its_script_had_been_forgotten(redis_server: str) -> None:
    count = saying("return redis.call('INCR', KEYS[1])")
    assert count.call_many([(["smm:limits:count"], [])] * 2) == [1, 2]
    redis.client().script_flush()
    assert count.call_many([(["smm:limits:count"], [])] * 3) == [3, 4, 5]


def test_one_dead_connection_goes_unnoticed(redis_server: str, script: Script) -> None:
    note(script)
    redis.client().client_kill_filter(_type="normal", skipme=True)
    assert note(script) == 1


def test_a_restarted_server_answers_again(server: Server, script: Script) -> None:
    note(script)
    embedded.stop([server.process])
    with bounded():
        note(script)
    embedded.start([server.process])
    assert note(script) == 1


def test_a_frozen_server_costs_no_more_than_the_time_out(server: Server, script: Script) -> None:
    note(script)
    server.signal(signal.SIGSTOP)
    with bounded():
        note(script)
    with bounded():
        note(script)


def test_a_frozen_server_costs_one_time_out_and_not_one_for_each_call(server: Server, script: Script) -> None:
    note(script)
    server.signal(signal.SIGSTOP)
    with bounded():
        note(script)
    started = time.monotonic()
    for _ in range(50):
        with pytest.raises(Transient):
            note(script)
    assert time.monotonic() - started < 0.2
    assert refusals_of(8, script, seconds=2.5) > 100, "one tries now and then, and the others do not wait for it"


def refusals_of(threads: int, script: Script, *, seconds: float) -> int:
    """How often callers are told so, of which only some may have waited."""
    ends, told = time.monotonic() + seconds, [0] * threads

    def ask(place: int) -> None:
        while time.monotonic() < ends:
            with pytest.raises(Transient):
                note(script)
            told[place] += 1
            time.sleep(0.01)

    running = [threading.Thread(target=ask, args=(place,)) for place in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert min(told) > 1
    return sum(told)


def test_a_server_that_thaws_is_asked_again_within_a_second(server: Server, script: Script) -> None:
    note(script)
    server.signal(signal.SIGSTOP)
    with bounded():
        note(script)
    server.signal(signal.SIGCONT)
    started = time.monotonic()
    assert until(lambda: answered(script), what="an answer") == 1
    assert time.monotonic() - started < wire.SILENT_SECONDS + 0.5
    assert [note(script) for _ in range(3)] == [1, 1, 1]


def test_a_server_that_refuses_is_asked_each_time(server: Server, script: Script) -> None:
    embedded.stop([server.process])
    for _ in range(3):
        with bounded():
            note(script)
    embedded.start([server.process])
    assert note(script) == 1


def answered(script: Script) -> int | None:
    try:
        return note(script)
    except Transient:
        return None


def test_an_answer_that_came_too_late_is_nobody_elses(server: Server, script: Script) -> None:
    echo = saying("return ARGV[1]")
    assert echo.call([], ["first"]) == b"first"
    server.signal(signal.SIGSTOP)
    with bounded():
        echo.call([], ["second"])
    server.signal(signal.SIGCONT)
    until(lambda: answered(Script("waiting")), what="an answer")
    assert [echo.call([], [word]) for word in ("third", "fourth")] == [b"third", b"fourth"]


def test_a_full_server_is_transient_and_changes_nothing(server: Server, script: Script) -> None:
    note(script)
    redis.client().config_set("maxmemory", "1mb")
    with bounded():
        note(script, f"{KEY}:other")
    redis.client().config_set("maxmemory", "0")
    assert not redis.client().exists(f"{KEY}:other")
    assert note(script) == 1


def test_a_replica_that_only_reads_is_transient(server: Server, script: Script) -> None:
    note(script)
    redis.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    with bounded():
        note(script)
    redis.client().execute_command("REPLICAOF", "NO", "ONE")
    assert note(script) == 1


class _Answers(socketserver.BaseRequestHandler):
    """Greets as a server does, and answers a script with the error of its turn."""

    def handle(self) -> None:
        while data := self.request.recv(65_536):
            commands = data.count(b"*")
            self.request.sendall(self.server.error if b"EVALSHA" in data else b"+OK\r\n" * commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots, but it is unable to persist to disk.\r\n",
        b"-ERR max number of clients reached\r\n",
        b"-ERR user_script:1: attempt to index a nil value\r\n",
        b"this is no answer at all\r\n",
    ],
)
def test_whatever_the_server_complains_of_is_transient(
    error: bytes, script: Script, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Answers) as fake:
        fake.daemon_threads, fake.error = True, error  # type: ignore[attr-defined]
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        use(monkeypatch, f"redis://127.0.0.1:{fake.server_address[1]}/0?protocol=2")
        with bounded():
            note(script)
        wire.close()
        fake.shutdown()


def test_a_server_that_is_not_there_is_transient(script: Script, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "redis://127.0.0.1:1/0")
    with bounded():
        note(script)


def test_a_wrong_password_is_a_wrong_installation(
    script: Script, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, f"redis://:wrong@{redis_server.rpartition('@')[2]}")
    with pytest.raises(Misconfigured):
        note(script)


def test_another_server_gets_another_connection(
    redis_server: str, script: Script, request: pytest.FixtureRequest
) -> None:
    note(script)
    request.getfixturevalue("server")
    note(script, f"{KEY}:there")
    assert redis.client().exists(f"{KEY}:there")
    assert not redis.connect(redis_server).exists(f"{KEY}:there")


def test_threads_do_not_share_a_connection(redis_server: str) -> None:
    echo = saying("return ARGV[1]")
    wrong: list[object] = []

    def ask(name: str) -> None:
        for number in range(200):
            answer = echo.call([], [f"{name} {number}"])
            if answer != f"{name} {number}".encode():
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(f"thread {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_child_does_not_talk_over_its_parents_connection(redis_server: str) -> None:
    echo = saying("return ARGV[1]")
    assert echo.call([], ["parent"]) == b"parent"
    child = os.fork()
    if child == 0:  # nothing of pytest may run here
        try:
            good = all(echo.call([], [f"child {number}"]) == f"child {number}".encode() for number in range(300))
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    assert all(echo.call([], [f"parent {number}"]) == f"parent {number}".encode() for number in range(300))
    status = until(lambda: [found for found in [os.waitpid(child, os.WNOHANG)] if found[0]], what="the child's end")
    assert os.waitstatus_to_exitcode(status[0][1]) == 0
    assert echo.call([], ["parent"]) == b"parent"

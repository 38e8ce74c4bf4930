"""`smm-admin config ...` on real files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app import catalog
from app.cli.config import as_toml
from app.cli.main import run
from app.config import CHECKOUT, Settings, environment_names, settings

GOOD = """
[services.web]
kind = "http"
url = "http://user:hunter2@127.0.0.1:${PORT:-8000}/"
headers = {X-Api-Key = "hunter2", X-Other = "${KEY}"}
interval = 30

[services.db]
kind = "postgres"
url = "postgresql://smm:hunter2@127.0.0.1/x"
depends_on = ["web"]
maintenance = [{days = ["friday"], from = "15:00", to = "17:00", reason = "updates"}]
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def file(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = home / "mine.toml"
    path.write_text(GOOD)
    monkeypatch.setenv("SMM_CATALOG_FILE", str(path))
    monkeypatch.setenv("KEY", "hunter2")
    monkeypatch.chdir(home)
    settings.cache_clear()
    return path


@pytest.fixture
def config(file: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def call(*words: str) -> Ran:
        code = run(["config", *words])
        printed = capsys.readouterr()
        assert "hunter2" not in printed.out + printed.err
        return Ran(code, printed.out, printed.err)

    return call


def test_a_good_file_is_fine(config: Callable[..., Ran]) -> None:
    assert config("check") == Ran(0, "fine: 2 services\n", "")
    assert config("check", "--json").json["services"] == 2


def test_the_shipped_file_is_fine_on_a_fresh_machine(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().out == "fine: 9 services\n"


def test_every_problem_is_told_on_its_line(config: Callable[..., Ran], file: Path) -> None:
    file.write_text(GOOD + 'intervall = 5\n[services.api]\nkind = "htp"\n[services.disk]\nkind = "disk"\npath = 3\n')
    ran = config("check", "mine.toml")
    assert (ran.code, ran.out) == (1, "")
    lines = [line.split(": ")[:2] for line in ran.err.splitlines()]
    assert lines == [
        ["mine.toml:13", "services.db.intervall"],
        ["mine.toml:15", "services.api.kind"],
        ["mine.toml:18", "services.disk.path"],
    ]


def test_problems_are_told_to_machines_too(config: Callable[..., Ran], file: Path) -> None:
    file.write_text("[services.web\n")
    ran = config("check", "--json")
    assert ran.code == 1
    assert ran.json["ok"] is False
    assert ran.json["problems"][0]["line"] == 1


def test_a_missing_file_is_one_clear_line(config: Callable[..., Ran]) -> None:
    assert config("check", "none.toml") == Ran(1, "", "none.toml: cannot be read: No such file or directory\n")


def test_what_is_shown_is_toml_again_with_every_default_and_no_secret(config: Callable[..., Ran]) -> None:
    shown = tomllib.loads(config("show").out)["services"]
    assert shown["web"]["interval"] == 30
    assert shown["web"]["confirm_interval"] == 5
    assert shown["web"]["headers"]["X-Other"] == "${KEY}"
    assert shown["db"]["watched_by"] == "watchdog"
    assert shown["db"]["thresholds"]["latency_ms"] == {"warning": 50, "degraded": 450, "margin": 0.05}
    assert shown["db"]["maintenance"][0]["from"] == "15:00:00"
    assert config("show", "--json").json["services"]["web"]["kind"] == "http"


def test_reload_says_what_a_running_system_takes_up(config: Callable[..., Ran], file: Path) -> None:
    config("show")
    assert config("reload").out.endswith("2 services; in force\n")
    file.write_text(GOOD.replace("interval = 30", "interval = 31").replace("[services.db]", "[services.base]"))
    ran = config("reload")
    assert ran.code == 0
    assert ran.out.splitlines()[:3] == ["base: new", "db: gone", "web: changed (interval)"]
    assert ran.out.endswith("2 services; taken up now\n")


def test_reload_of_a_broken_file_changes_nothing(config: Callable[..., Ran], file: Path) -> None:
    file.write_text("[services.web")
    ran = config("reload")
    assert ran.code == 1
    assert "stays in force" in ran.err


def test_every_setting_is_listed_and_secrets_are_hidden(
    config: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMM_ADMIN_KEY", "hunter2")
    monkeypatch.setenv("DATABASE_URL", "postgresql://smm:hunter2@db/x")
    settings.cache_clear()
    rows = {row["variable"]: row for row in config("settings", "--json").json["settings"]}
    assert set(rows) == {" or ".join(environment_names(field)) for field in Settings.model_fields}
    assert rows["DATABASE_URL"]["value"] == rows["SMM_ADMIN_KEY"]["value"] == "(set, hidden)"
    assert all(row["description"] for row in rows.values())
    assert "SMM_WEB_PORT" in config("settings").out


@pytest.mark.parametrize("value", [{"a b": [1, 2.0, 0.5, "x\ny"], "c": {"d-e": True}}, {}, {"x": [{"y": []}]}])
def test_values_survive_being_written_as_toml(value: dict[str, Any]) -> None:
    assert tomllib.loads(f"v = {as_toml(value)}")["v"] == value


def test_the_examples_in_the_shipped_file_are_fine_once_uncommented(home: Path, tmp_path: Path) -> None:
    assert CHECKOUT is not None
    lines = (CHECKOUT / "deploy" / "smm-admin.toml").read_text().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("# [services."))
    shown = [
        line[2:]
        if line.startswith(("# [", "# ")) and (" = " in line or line.startswith(("# [services", "# [modes", "# [http")))
        else line
        for line in lines[start:]
    ]
    file = tmp_path / "all.toml"
    file.write_text("\n".join(lines[:start] + shown))
    environment = {"STACK_DATABASE_URL": "postgresql://a/b", "STACK_REDIS_URL": "redis://a"}
    environment |= {"QDRANT_API_KEY": "k", "N8N_API_KEY": "k", "MASTODON_TOKEN": "t"}
    from app.config import variable
    from app.health.probes import kinds
    from app.health.specs import catalog_problems

    found = catalog.load(file, [catalog_problems], lookup=lambda name: environment.get(name) or variable(name))
    assert {"qdrant", "n8n", "worker", "dashboard", "nightly-export"} <= set(found.services)
    assert {service.kind for service in found.services.values()} == set(kinds())
    assert {"no-vectors", "no-workflows"} <= set(found.modes)
    assert {"default", "admin", "chat"} <= set(found.limiting.http)

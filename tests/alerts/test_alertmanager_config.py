"""The routing as Alertmanager's configuration, judged by Alertmanager's own tool."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.alerts.alertmanager_config import render
from app.alerts.routing import Router
from app.catalog import Telling
from tests.fixtures.programs import need

TREE: dict[str, Any] = {
    "receiver": "ops",
    "matchers": ["not=counted"],
    "continue": True,
    "group_by": ["alertname"],
    "routes": [
        {"matchers": ['severity="critical"'], "receiver": "pager", "group_wait": 0, "continue": True},
        {
            "matchers": ['team="data"', " service != n8n "],
            "receiver": "data",
            "group_wait": 1.5,
            "group_interval": 90,
            "repeat_interval": 7200,
            "ladder": "data",
            "routes": [{"matchers": ["service=~postgres|redis"], "group_by": ["..."], "receiver": "search"}],
        },
        {},
    ],
}
INHIBITION = {"source": ["alertname=RackDown"], "target": ['severity=~"warning|info"'], "equal": ["rack", "room"]}


def telling(tree: dict[str, Any], inhibitions: list[dict[str, Any]] | None = None) -> Telling:
    names = ("ops", "pager", "data", "search")
    receivers = {name: {"name": name, "notify": ["channel:secret"]} for name in names}
    return Telling.model_validate({"routing": tree, "receivers": receivers, "inhibitions": inhibitions or []})


def amtool(*arguments: str | Path) -> str:
    """What amtool says; the test fails when it finds fault."""
    program = need("amtool", package="prometheus-alertmanager")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(directory: Path, found: Telling) -> Path:
    file = directory / "alertmanager.yml"
    file.write_text(render(found))
    return file


def test_it_is_readable_and_names_no_address() -> None:
    assert (
        render(telling(TREE, [INHIBITION]))
        == r"""route:
  receiver: "ops"
  group_by: ["alertname"]
  routes:
    - receiver: "pager"
      matchers: ["severity=\"critical\""]
      group_wait: 0s
      continue: true
    - receiver: "data"
      matchers: ["team=\"data\"", "service!=\"n8n\""]
      group_wait: 1500ms
      group_interval: 90s
      repeat_interval: 2h
      routes:
        - receiver: "search"
          matchers: ["service=~\"postgres|redis\""]
          group_by: ["..."]
    - {}
receivers:
  - name: "ops"
  - name: "pager"
  - name: "data"
  - name: "search"
inhibit_rules:
  - source_matchers: ["alertname=\"RackDown\""]
    target_matchers: ["severity=~\"warning|info\""]
    equal: ["rack", "room"]
"""
    )


def test_without_a_receiver_the_root_tells_nobody() -> None:
    assert render(Telling()) == 'route:\n  receiver: "nobody"\nreceivers:\n  - name: "nobody"\n'


@pytest.mark.prometheus
def test_amtool_shows_the_routes(tmp_path: Path) -> None:
    file = written(tmp_path, telling(TREE, [INHIBITION]))
    assert "1 inhibit rules" in amtool("check-config", file)
    shown = amtool("config", "routes", "show", f"--config.file={file}")
    assert [line.lstrip("│├└─ \xa0") for line in shown.strip().splitlines()[2:]] == [
        "default-route  receiver: ops",
        '{severity="critical"}  continue: true  receiver: pager',
        '{service!="n8n",team="data"}  receiver: data',
        '{service=~"postgres|redis"}  receiver: search',
        "default-route  receiver: ops",
    ]


@pytest.mark.prometheus
def test_without_a_catalogue_amtool_shows_one_route(tmp_path: Path) -> None:
    file = written(tmp_path, Telling())
    assert "receiver: nobody" in amtool("config", "routes", "show", f"--config.file={file}")


@pytest.mark.prometheus
@pytest.mark.parametrize(
    "labels",
    [
        {"severity": "info"},
        {"severity": "critical"},
        {"severity": "critical", "team": "data", "service": "redis"},
        {"team": "data", "service": "n8n"},
        {"team": "data", "service": "web"},
    ],
)
def test_amtool_sends_alerts_where_we_do(tmp_path: Path, labels: dict[str, str]) -> None:
    found = telling(TREE)
    file = written(tmp_path, found)
    told = [f"{name}={value}" for name, value in labels.items()]
    receivers = amtool("config", "routes", "test", f"--config.file={file}", *told).strip().split(",")
    assert receivers == [target.receiver for target in Router(found.routing).match(labels)]


@pytest.mark.prometheus
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), min_size=1, max_size=9))
def test_amtool_takes_any_text(tmp_path: Path, texts: list[str]) -> None:
    escaped = [text.replace("\\", r"\\").replace('"', r"\"") for text in texts]
    found = telling({"receiver": "ops", "routes": [{"matchers": [f'x="{text}"' for text in escaped]}]})
    file = written(tmp_path, found)
    told = [f"x={text}" for text in texts[:1] if text.isascii() and text.isalnum()]
    assert "SUCCESS" in amtool("check-config", file)
    assert amtool("config", "routes", "test", f"--config.file={file}", *told).strip() == "ops"

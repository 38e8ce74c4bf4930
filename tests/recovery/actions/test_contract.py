"""What every action owes: one contract, checked over the registry, so that a new file cannot forget a part of it."""

from __future__ import annotations

import importlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from app.health.core import State
from app.health.probes import kinds
from app.infra.plain import plain
from app.recovery.acting import Effect, Failed, Work
from app.recovery.actions import actions
from tests.fixtures.servers import forget
from tests.health import local
from tests.recovery.actions.working import catalog_of, seen, service_of, work_of

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "actions.md").read_text()
TIMEOUT_SECONDS = 1.5
LEAST: dict[str, dict[str, Any]] = {
    "call_webhook": {"url": "https://example.com/s3cret", "headers": {"X-Key": "s3cret"}, "secret": "s3cret"},
    "evict_keys": {"prefix": "cache:"},
    "pause_operations": {"operations": ["publish"]},
    "run_job": {"task": "tests.record"},
}
"""The options that an action cannot do without."""
NETWORK = ("call_webhook", "capture_queries", "evict_keys", "grow_pool", "raise_maxmemory", "restart_container")


def least(name: str, **more: Any) -> Any:
    return actions()[name].Options.model_validate(LEAST.get(name, {}) | more)


def section(name: str) -> str:
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/actions.md has no section about {name}"
    return found[1]


@pytest.mark.parametrize("name", actions())
def test_an_action_is_described(name: str):
    module = actions()[name]
    assert name == module.NAME
    assert module.SUMMARY[0].islower()
    assert not module.SUMMARY.endswith(".")
    assert module.EFFECT in Effect
    assert set(module.KINDS) <= set(kinds())


@pytest.mark.parametrize("name", actions())
def test_every_option_is_described_and_none_is_accepted_by_accident(name: str):
    options = actions()[name].Options
    assert options.__doc__
    assert {field for field, given in options.model_fields.items() if not given.description} == set()
    with pytest.raises(ValidationError) as refused:
        options.model_validate({**LEAST.get(name, {}), "no_such_option": "s3cret"})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("name", actions())
def test_every_option_is_on_the_page_with_its_default(name: str):
    kind = ", ".join(f"`{kind}`" for kind in actions()[name].KINDS)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section(name), re.MULTILINE))
    assert re.search(rf"^\| \[`{name}`\]\(#{name}\) \| {kind or '(any|any service with a container)'} \|", PAGE, re.M)
    assert set(rows) == set(actions()[name].Options.model_fields)
    for option, field in actions()[name].Options.model_fields.items():
        if field.default not in (PydanticUndefined, "", (), None) or field.default == 0:
            expected = json.dumps(field.default).removesuffix(".0")
            assert rows[option] == f"`{expected}`", option


@pytest.mark.parametrize("name", actions())
def test_what_it_will_do_is_said_in_a_few_words_without_secrets(name: str):
    said = actions()[name].says(least(name), service_of("redis", container="claw-it"))
    assert said[0].islower()
    assert not said.endswith(".")
    assert "\n" not in said
    assert len(said) <= 120
    assert "s3cret" not in said


@pytest.mark.parametrize("name", actions())
def test_the_default_catalogue_has_an_answer(name: str):
    service = service_of("redis", container="claw-it")
    assert actions()[name].forbidden(least(name), service, catalog_of(service)) is None


@pytest.fixture(params=["refused", "silent"])
def nowhere(request: pytest.FixtureRequest) -> Iterator[Callable[[str], tuple[Work, dict[str, Any]]]]:
    """Work on servers that are away, or that accept and say nothing."""
    with local.silent_port() as silent:
        port = silent if request.param == "silent" else local.closed_port()

        def made(name: str) -> tuple[Work, dict[str, Any]]:
            kind = (actions()[name].KINDS or ("redis",))[0]
            service = service_of(kind, container="claw-it")
            more = {"url": f"http://127.0.0.1:{port}/", "allow": "127.0.0.0/8"} if name == "call_webhook" else {}
            work = work_of(
                service,
                catalog=catalog_of(service, docker={"host": f"tcp://127.0.0.1:{port}"}),
                probe=lambda: seen(False, State.DOWN, over=False),
                database_url=f"postgresql://u:s3cret@127.0.0.1:{port}/x",
                redis_url=f"redis://:s3cret@127.0.0.1:{port}/0",
                timeout_seconds=TIMEOUT_SECONDS,
            )
            return work, more

        yield made


@pytest.mark.parametrize("name", NETWORK)
def test_a_server_that_is_away_is_an_outcome_within_the_time(name: str, nowhere: Callable[..., Any]):
    work, more = nowhere(name)
    started = time.monotonic()
    result = actions()[name].act(least(name, **more), work)
    assert time.monotonic() - started < TIMEOUT_SECONDS + 0.5
    assert isinstance(result, Failed)
    assert result.text
    assert "s3cret" not in repr(result)
    json.dumps(plain(result.detail), allow_nan=False)


@pytest.mark.parametrize("name", ["pause_operations", "resume_operations", "run_job"])
def test_without_the_database_a_step_fails_in_words(name: str, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:s3cret@127.0.0.1:{local.closed_port()}/x")
    forget()
    importlib.import_module("tasks.celery").compose()
    importlib.import_module("tests.engine.work")
    result = actions()[name].act(least(name), work_of())
    assert isinstance(result, Failed)
    assert "database" in result.text
    assert "s3cret" not in repr(result)


def test_every_action_is_tried():
    """Those that need a server on servers that are away, above; the others have no way to fail."""
    tried = {*NETWORK, "pause_operations", "resume_operations", "run_job", "probe"}
    assert set(actions()) == tried

"""Commands are run as the installed program runs them, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from app.cli.main import run
from app.config import settings


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def smm(
    database: str, redis_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs `smm-admin` with these words, with the tests' own tasks published."""
    monkeypatch.setenv("SMM_TASK_MODULES", '["tests.web.tasks_of_tests"]')
    settings.cache_clear()

    def call(*words: str) -> Ran:
        capsys.readouterr()
        code = run(words)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return call

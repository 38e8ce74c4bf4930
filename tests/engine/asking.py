"""A running product from outside: its API with the admin's key or another, its pages, its commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.config import settings
from app.infra import adminkey
from tests.fixtures.stack import Stack


@dataclass
class Asking:
    """The product from outside."""

    stack: Stack

    def __post_init__(self) -> None:
        self._headers = {"X-API-Key": adminkey.load_or_create(settings())}

    def get(self, path: str, **query: Any) -> Any:
        answer = httpx.get(self.url(path), params=query, headers=self._headers, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, *, key: str = "", status: int = 200) -> Any:
        headers = {"X-API-Key": key} if key else self._headers
        answer = httpx.post(self.url(path), json=body, headers=headers, timeout=30)
        assert answer.status_code == status, answer.text
        return answer.json()

    def raw(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.stack.web_port}{path}", headers=self._headers, timeout=20)

    def flower(self, path: str) -> httpx.Response:
        password = adminkey.load_or_create(settings())
        return httpx.get(f"http://127.0.0.1:{self.stack.flower_port}{path}", auth=("admin", password), timeout=20)

    def command(self, *arguments: str) -> str:
        """`smm-admin ...` as a person types it."""
        return self.stack.command(*arguments).stdout

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.stack.web_port}/api/v1{path}"


@pytest.fixture
def asking(stack: Stack) -> Asking:
    return Asking(stack)

"""Catalogues for tests, written as an operator would write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.catalog import Catalog, parse
from app.config import settings
from app.health import catalog_problems


def catalog_of(text: str) -> Catalog:
    """A checked catalogue."""
    return parse(text, [catalog_problems])


def use(monkeypatch: pytest.MonkeyPatch, home: Path, text: str) -> Path:
    """Let this process run under that catalogue."""
    file = home / f"catalog-{abs(hash(text))}.toml"
    file.write_text(text)
    monkeypatch.setenv("SMM_CATALOG_FILE", str(file))
    settings.cache_clear()
    return file


def tcp(name: str, port: int = 1, **more: Any) -> str:
    """A tcp service of this host."""
    lines = [f"[services.{name}]", 'kind = "tcp"', 'host = "127.0.0.1"', f"port = {port}"]
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in more.items())]) + "\n"

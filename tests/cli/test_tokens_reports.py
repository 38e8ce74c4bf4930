"""`smm-admin tokens report|success|history`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app import clock
from tests.cli.conftest import Ran
from tests.health.catalogs import use
from tests.tokens.rows import Kept, happened, keep, remember

Smm = Callable[..., Ran]


@pytest.fixture
def tokens(smm: Smm, home: Path, monkeypatch: pytest.MonkeyPatch) -> Smm:
    use(monkeypatch, home, '[services.redis]\nkind = "redis"\n')
    now = clock.now()
    shop = Kept("1784", token={"expires_at": now + timedelta(days=50)})
    keep(shop)
    end = now + timedelta(days=60)
    remember([happened(shop, "failed", now - timedelta(milliseconds=1), "no_answer", by="person:ann", duration_ms=9)])
    remember([happened(shop, "refreshed", now, duration_ms=9, expires_at=end, channels=["a", "b"])])
    return smm


def test_a_day_is_reported(tokens: Smm) -> None:
    said = tokens("tokens", "report").out
    assert said.startswith("Tokens of all tenants on ")
    assert "acme (instagram/1784)" in said
    assert list(tokens("tokens", "report", "--json").json)[:3] == ["date", "tokens_checked", "status"]
    assert "No look was recorded." in tokens("tokens", "report", "yesterday", "--tenant", "acme").out
    refused = tokens("tokens", "report", "someday")
    assert refused.code == 2
    assert "must be a day such as" in refused.err


def test_success_is_told_with_reasons(tokens: Smm) -> None:
    said = tokens("tokens", "success").out
    assert said.startswith("1 of 2 refreshes succeeded (50 %) in 7 days; it should be 95 %\n")
    assert "the platform did not answer  failed   1" in said
    assert tokens("tokens", "success", "--json").json["share"] == 0.5
    assert tokens("tokens", "success", "--tenant", "other", "--days", "1").out == "nothing was refreshed in 1 day\n"


def test_a_tokens_history_is_told(tokens: Smm) -> None:
    lines = tokens("tokens", "history", "instagram/1784").out.splitlines()
    assert lines[1].split()[1:3] == ["refreshed", "schedule"]
    assert "channels a, b" in lines[1]
    assert lines[2].split()[1:3] == ["failed", "person:ann"]
    assert "the platform did not answer" in lines[2]
    first = tokens("tokens", "history", "instagram/1784", "--most", "1")
    assert "there is more: --before " in first.out
    before = first.out.split()[-1]
    rest = tokens("tokens", "history", "instagram/1784", "--before", before, "--json").json
    assert [entry["kind"] for entry in rest["history"]] == ["failed"]
    assert tokens("tokens", "history", "instagram/nobody").code == 1

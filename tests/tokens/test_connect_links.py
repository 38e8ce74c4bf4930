"""Links with which owners log in again: signed, for one account, for the hours that the configuration has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from app.alerts import links as alert_links
from app.alerts.acting import Target
from app.alerts.links import Action
from app.config import Settings
from app.errors import Invalid
from app.infra import signed
from app.infra.signed import Expired
from app.tokens import connect_links
from tests.health.catalogs import tcp, use

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
ACCOUNT = UUID("019f0e6c-7d55-7c1e-9d1a-3a1f6f0c2b11")


@pytest.fixture
def config(home: Path) -> Settings:
    return Settings(home=home, public_url="https://ops.example.com/smm/")


def token_of(config: Settings, *, now: datetime = NOW, generation: int = 3) -> str:
    url = connect_links.make(config, ACCOUNT, generation=generation, now=now)
    assert url.startswith("https://ops.example.com/smm/connect/")
    return url.rpartition("/")[2]


def test_a_link_says_which_account_until_when_and_what_it_had(config: Settings) -> None:
    link = connect_links.read(config, token_of(config), now=NOW)
    assert (link.account_id, link.generation, link.made_at) == (ACCOUNT, 3, NOW)
    assert link.expires_at == NOW + timedelta(days=7)
    assert len(link.token) < 200, "it has to fit into every kind of message"
    assert link.token not in repr(link)


def test_a_link_is_good_to_its_last_second(config: Settings) -> None:
    token = token_of(config)
    assert connect_links.read(config, token, now=NOW + timedelta(days=7, seconds=-1)).account_id == ACCOUNT
    with pytest.raises(Expired):
        connect_links.read(config, token, now=NOW + timedelta(days=7))


def test_the_configuration_says_for_how_long(config: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, home, tcp("web") + "[tokens]\nlink_hours = 2\n")
    assert connect_links.read(config, token_of(config), now=NOW).expires_at == NOW + timedelta(hours=2)


def test_another_installations_link_and_one_of_an_alert_are_not_good_here(config: Settings, tmp_path: Path) -> None:
    other = Settings(home=tmp_path, public_url=config.public_url)
    of_alert = alert_links.make(config, Action.RESOLVE, Target("group", ACCOUNT), now=NOW).rpartition("/")[2]
    for token in (token_of(other), of_alert):
        with pytest.raises(Invalid, match="none of this installation's"):
            connect_links.read(config, token, now=NOW)
    with pytest.raises(Invalid):
        alert_links.read(config, token_of(config), now=NOW)


def test_a_changed_letter_anywhere_makes_it_none_of_ours(config: Settings) -> None:
    token = token_of(config)
    for place in range(0, len(token), 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(Invalid):
            connect_links.read(config, changed, now=NOW)


@pytest.mark.parametrize("claims", [{}, {"c": "x", "g": 1, "m": 1}, {"c": ACCOUNT.hex, "g": "x", "m": 1}, {"c": 1}])
def test_what_another_version_of_us_signed_is_refused_and_raises_nothing_else(
    config: Settings, claims: dict[str, object]
) -> None:
    token = signed.sign(config, connect_links.PURPOSE, claims, expires_at=NOW + timedelta(days=1))
    with pytest.raises(Invalid):
        connect_links.read(config, token, now=NOW)


@effort(max_examples=20)
@given(text=st.text(max_size=900))
def test_nothing_that_is_typed_raises_anything_else(text: str) -> None:
    with pytest.raises(Invalid):
        connect_links.read(Settings(admin_key="k" * 40, public_url=""), text, now=NOW)

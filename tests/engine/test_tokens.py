"""Tokens as their users meet them: `smm-admin up`, accounts imported, refreshed, lost with a killed worker, connected
again by a login, read by a service; and no token anywhere but in the one answer that is for it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.engine.asking import Asking, asking
from tests.fixtures.stack import Stack, eventually
from tests.tokens import leaks
from tests.tokens.platforms.meta import MetaPlatform
from tests.tokens.platforms.oauth import OAuthPlatform
from tests.tokens.platforms.serving import Fault

__all__ = ["asking"]

pytestmark = pytest.mark.slow

_APP = """
[apps.{name}]
client_id = "{client_id}"
client_secret = "{client_secret}"
base_url = "{url}"
login_url = "{login_url}"
timeout = 25
"""
_TOKENS = """
[tokens]
lease_seconds = 30
spread_minutes = 0
"""


@pytest.fixture
def platforms(stack: Stack) -> Iterator[tuple[MetaPlatform, OAuthPlatform]]:
    """Instagram and X on this host, known to the product as its apps."""
    assert stack.catalog is not None
    before = stack.catalog.read_text()
    with MetaPlatform("instagram") as instagram, OAuthPlatform("x") as x:
        apps = "".join(
            _APP.format(
                name=one.platform, client_id=one.client_id, client_secret=one.client_secret, url=one.url,
                login_url=one.app().login_url,
            )
            for one in (instagram, x)
        )  # fmt: skip
        kept = re.sub(r"(?ms)^\[tokens\].*?(?=^\[|\Z)", "", before)
        stack.catalog.write_text(kept + _TOKENS + apps)
        try:
            yield instagram, x
        finally:
            stack.catalog.write_text(before)


def _import(asking: Asking, directory: Path, instagram: MetaPlatform, x: OAuthPlatform) -> None:
    rows = []
    for platform, name, age, life in (
        (instagram, "1001", timedelta(days=55), timedelta(days=60)),
        (instagram, "1002", timedelta(days=2), timedelta(days=60)),
        (x, "1003", timedelta(minutes=90), timedelta(hours=2)),
        (x, "1004", timedelta(minutes=90), timedelta(hours=2)),
    ):
        given = platform.give(name, age=age, life=life)
        assert given.expires_at is not None
        rows.append(
            {
                "tenant": "acme", "platform": platform.platform, "account": name, "name": f"Account {name}",
                "access_token": given.access.reveal(),
                "refresh_token": given.refresh.reveal() if given.refresh else "",
                "expires_at": given.expires_at.isoformat(),
            }
        )  # fmt: skip
    file = directory / "accounts.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    asking.command("tokens", "import", str(file))
    file.unlink()


def test_accounts_are_kept_alive_connected_again_and_read_and_no_token_is_seen(
    stack: Stack, asking: Asking, platforms: tuple[MetaPlatform, OAuthPlatform], tmp_path: Path
) -> None:
    instagram, x = platforms
    x.fail(Fault.HANG_AFTER, "1004")
    _import(asking, tmp_path, instagram, x)
    _refreshed(asking, "instagram/1001")
    _refreshed(asking, "x/1003")
    _lost_with_its_worker(stack, asking, x)
    _connected_again(asking, x)
    _revoked_and_paused(asking, instagram)
    _read(asking, instagram, x)
    assert (x.reused, x.refreshed["1003"], instagram.refreshed["1001"]) == ([], 1, 1)
    _nothing_leaked(stack, asking, instagram, x)


def _of(asking: Asking, key: str) -> Any:
    return asking.get(f"/tokens/{key}")


def _refreshed(asking: Asking, key: str) -> None:
    eventually(lambda: _of(asking, key)["generation"] == 2, within=60, what=f"{key} is refreshed")
    found = _of(asking, key)
    assert (found["grant"], found["attempts"], found["paused"]) == ("good", 0, False)


def _lost_with_its_worker(stack: Stack, asking: Asking, x: OAuthPlatform) -> None:
    """It has sent the token, and dies while it waits for an answer that nobody else will get."""
    eventually(lambda: x.calls["refresh", "1004"] == 1, within=60, what="1004 is sent")
    for process in stack.processes("worker-tokens")[0].children():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    eventually(lambda: _of(asking, "x/1004")["grant"] == "lost", within=90, what="the loss is noticed")
    assert (_of(asking, "x/1004")["reason"], x.calls["refresh", "1004"]) == ("lost_in_crash", 1)
    raised = eventually(
        lambda: [one for one in asking.get("/alerts")["alerts"] if one["name"] == "SMM_TokenReconnectNeeded"],
        within=30,
        what="staff are told",
    )
    assert "1004" in json.dumps(raised)


def _connected_again(asking: Asking, x: OAuthPlatform) -> None:
    """As a browser does it: the link's page, its button, the platform's consent, and back."""
    x.heal()
    x.visitor = "1004"
    url = asking.post("/tokens/x/1004/link")["url"]
    with httpx.Client(timeout=20) as browser:
        page = browser.get(url)
        assert page.status_code == 200
        assert _of(asking, "x/1004")["generation"] == 1, "looking changes nothing"
        gone = browser.post(url)
        assert gone.status_code == 303
        consent = browser.get(gone.headers["location"])
        done = browser.get(consent.headers["location"])
    assert done.status_code == 200, done.text
    found = _of(asking, "x/1004")
    assert (found["grant"], found["generation"], found["step"]) == ("good", 2, "")


def _revoked_and_paused(asking: Asking, instagram: MetaPlatform) -> None:
    """What needs the token waits from the moment in which the platform is known to refuse it."""
    instagram.revoke("1002", 458)
    assert asking.post("/tokens/instagram/1002/check")["accepted"] is False
    eventually(
        lambda: [one for one in asking.get("/pauses")["pauses"] if one["scope"] == "account:instagram/1002"],
        within=30,
        what="the account's operations are paused",
    )
    new = instagram.give("1002", age=timedelta(hours=1))
    file = Path(asking.stack.home).parent / "token.txt"
    file.write_text(new.access.reveal())
    asking.command("tokens", "set", "instagram/1002", "--from", str(file), "--expires-in", "5000000")
    file.unlink()
    eventually(
        lambda: not [one for one in asking.get("/pauses")["pauses"] if one["scope"] == "account:instagram/1002"],
        within=30,
        what="they go on",
    )


def _read(asking: Asking, instagram: MetaPlatform, x: OAuthPlatform) -> None:
    made = json.loads(
        asking.command("keys", "create", "publisher", "--role", "service", "--scope", "tokens:read:instagram", "--json")
    )
    given = asking.post("/tokens/instagram/1001/read", {"purpose": "publish"}, key=made["key"])
    assert instagram.is_good(given["access_token"])
    assert given["generation"] == 2
    asking.post("/tokens/x/1003/read", {"purpose": "publish"}, key=made["key"], status=403)
    reads = asking.get("/tokens/instagram/1001/reads")["reads"]
    assert (reads[0]["by"], reads[0]["outcome"]) == ("publisher", "given")


def _nothing_leaked(stack: Stack, asking: Asking, instagram: MetaPlatform, x: OAuthPlatform) -> None:
    needles = leaks.Needles(instagram.client_secret, x.client_secret)
    known = {"platform": "x", "account": "1004"}
    servers = json.loads((stack.home / "servers.json").read_text())
    found = [
        *leaks.in_files(needles, stack.home),
        *leaks.in_redis(needles, servers["redis"]["url"]),
        *leaks.in_postgres(needles, servers["postgres"]["url"]),
        *leaks.in_api(needles, asking.raw, known),
        *leaks.in_pages(needles, asking.raw, "/", "/tokens", "/tokens/x/1004", "/metrics"),
        *leaks.in_flower(needles, asking.flower),
    ]
    # The operator's own file, kept as it was when it was last good; it may hold an app's secret, but never a token.
    assert [place for place in found if place != "file catalog.last-good.toml"] == []

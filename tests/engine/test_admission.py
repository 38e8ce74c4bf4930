"""Five times more work than a platform allows, from several processes: none refused, wasted or lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app.config import settings
from app.infra import adminkey
from app.infra.db import unit_of_work
from tests.fixtures.instagram import Platform, instagram
from tests.fixtures.stack import Stack, eventually

pytestmark = pytest.mark.slow

WINDOW = 12
HOUSE, PLATFORM = 24, 27
LOADED_WINDOWS = 2
ACCOUNTS = ("17841400000000001", "17841400000000002")
DRIVERS = 3

CATALOG = f"""
[limits.api]
platform = "instagram"
capacity = {HOUSE}
window = "calendar"
period = {WINDOW}

[limits.api_rolling]
platform = "instagram"
capacity = {PLATFORM}
window = "rolling"
period = {WINDOW}
reported_by = ["app_usage", "business_usage"]

[operations.comment-reply]
platform = "instagram"
class = "interactive"
consumes = {{api = 1, api_rolling = 1}}

[operations.read-comments]
platform = "instagram"
consumes = {{api = 1, api_rolling = 1}}

[operations.analytics]
platform = "instagram"
class = "background"
consumes = {{api = 1, api_rolling = 1}}
"""

# Operation, what is called, times the capacity, and seconds it waits for at most.
MIX = (
    ("comment-reply", "comments", 1.4, 300),
    ("read-comments", "comments", 1.6, 2 * WINDOW),
    ("analytics", "insights", 2.0, WINDOW),
)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with instagram(limit=PLATFORM, window=WINDOW) as server:
        yield server


@pytest.fixture
def product(stack: Stack) -> Iterator[Stack]:
    """The product, once it knows these limits."""
    with stack.with_catalogue(CATALOG):
        time.sleep(2.5)  # each process looks at its file once a second, and nothing shows the last of them
        yield stack


def planned(driver: int) -> list[dict[str, Any]]:
    """One driver's share of the load: every operation of every account, evenly mixed."""
    entries = []
    for operation, what, times, patience in MIX:
        count = round(times * HOUSE * LOADED_WINDOWS / DRIVERS)
        for account in ACCOUNTS:
            for place in range(count):
                name = f"{operation}-{account[-1]}-{driver}-{place}"
                entry = {"operation": operation, "account": account, "id": name, "what": what, "patience": patience}
                entries.append(((place + 0.5) / count, entry))
    return [entry for _, entry in sorted(entries, key=lambda one: one[0])]


def drive(stack: Stack, platform: Platform) -> list[dict[str, Any]]:
    """All drivers at once; every answer they got."""
    url, key = f"http://127.0.0.1:{stack.web_port}", adminkey.load_or_create(settings())
    script = str(Path(__file__).parent / "platform_driver.py")
    with ExitStack() as processes:
        running = [
            processes.enter_context(
                subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(DRIVERS)
        ]
        for number, process in enumerate(running):
            assert process.stdin is not None
            given = {
                "url": url,
                "key": key,
                "platform": platform.url,
                "plan": planned(number),
                "seconds": LOADED_WINDOWS * WINDOW,
            }
            process.stdin.write(json.dumps(given))
            process.stdin.close()
        answers = []
        for process in running:
            assert process.stdout is not None
            answers += [json.loads(line) for line in process.stdout]
            assert process.wait(30) == 0
    return answers


def deferred() -> list[Any]:
    with unit_of_work() as uow:
        query = "SELECT account, rank, seq, request_id, state, job_id FROM deferred_operations ORDER BY seq"
        return list(uow.execute(query))


def is_over() -> bool:
    """Does nothing wait or run any more?"""
    with unit_of_work() as uow:
        query = (
            "SELECT (SELECT count(*) FROM deferred_operations WHERE state = 'waiting')"
            " + (SELECT count(*) FROM jobs WHERE task = 'tests.call_platform')"
        )
        return bool(uow.execute(query).scalar_one() == 0)


def test_five_times_the_capacity_is_neither_refused_nor_wasted_nor_lost(product: Stack, platform: Platform) -> None:
    time.sleep(WINDOW - time.time() % WINDOW)  # from a window's beginning, so that whole windows are measured
    started = time.time()
    answers = drive(product, platform)
    offered = len(answers)
    assert offered >= 4.9 * HOUSE * LOADED_WINDOWS * len(ACCOUNTS)
    eventually(is_over, within=90, what=lambda: f"all is done\n{product.tail()}")

    assert platform.refused == []

    for account in ACCOUNTS:
        calls = platform.of(account)
        windows = Counter(int((call.at - started) // WINDOW) for call in calls)
        print(account, sorted(windows.items()))
        busy = len(calls) // HOUSE  # windows for which there was enough to do
        assert sum(call.at < started + busy * WINDOW for call in calls) > 0.95 * busy * HOUSE, sorted(windows.items())

    rows = deferred()
    executed = [call.operation for call in platform.calls]
    assert len(executed) == len(set(executed))
    released = {row.request_id for row in rows if row.state == "released"}
    expired = {row.request_id for row in rows if row.state == "expired"}
    at_once = {answer["id"] for answer in answers if answer["decision"] == "allow"}
    assert {row.state for row in rows} == {"released", "expired"}
    assert set(executed) == released | at_once
    assert not expired & set(executed)
    for account in ACCOUNTS:
        order = {call.operation: place for place, call in enumerate(platform.of(account))}
        for rank in (1, 2, 3):
            mine = [row for row in rows if row.account == f"instagram/{account}" and row.rank == rank]
            places = [order[row.request_id] for row in mine if row.state == "released"]
            assert places == sorted(places), (account, rank)

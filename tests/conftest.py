"""Fixtures of the whole suite, and which tests share a worker when several run."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.fixtures.servers", "tests.fixtures.ledger", "tests.fixtures.docker"]

# A product costs half a minute to start and watch become healthy, so that tests of one run on one worker, in their
# order. They wait more than they compute: others meanwhile take what computes.
PRODUCTS = "tests/engine/"
SHARED = {
    "test_admission.py": "stack",
    "test_costs.py": "stack",
    "test_flower.py": "stack",
    "test_modes.py": "stack",
    "test_survival.py": "stack",
    "test_tokens.py": "stack",
    "test_health.py": "watched",
    "test_watchdog_paging.py": "watched",
    "test_watchdog_repairs.py": "watched",
    "test_worker_repairs.py": "watched",
}


class OneWorkerAProduct(LoadScopeScheduling):
    """Any free worker takes any test, but those of one product stay together.

    (xdist's own mark for this relies on an attribute that pytest 9.2 no longer has, and is silently without effect.)
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if not module.startswith(PRODUCTS):
            return nodeid
        return SHARED.get(module.removeprefix(PRODUCTS), module)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerAProduct:
    """Used for `-n`."""
    return OneWorkerAProduct(config, log)


# Collected tests and what they import stay until the end. To look through all of them for garbage, again and again, is
# a third of the price of collecting them, and some of each test's.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on only what is new is looked through."""
    gc.collect()
    gc.freeze()
    gc.enable()

"""Fixtures of the whole suite, and which tests share a worker when several run."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.fixtures.servers", "tests.fixtures.ledger", "tests.fixtures.stack", "tests.fixtures.docker"]

# A product costs half a minute to start and watch become healthy: tests of one run on one worker, in their order.
ONE_PRODUCT = "tests/engine/"
SHARED = {"tests/engine/test_flower.py": "stack", "tests/engine/test_survival.py": "stack"}


class OneWorkerAProduct(LoadScopeScheduling):
    """Any free worker takes any test, but those of one product stay together.

    (xdist's own mark for this relies on an attribute that pytest 9.2 no longer has, and is silently without effect.)
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return SHARED.get(module, module) if module.startswith(ONE_PRODUCT) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerAProduct:
    """Used for `-n`."""
    return OneWorkerAProduct(config, log)

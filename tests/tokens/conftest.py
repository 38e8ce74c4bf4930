"""What tests of tokens share, and the guard that fails the one in which a token is logged or printed."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.tokens.guard import log_guard, printed
from tests.tokens.scene import scene

__all__ = ["log_guard", "scene"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.passed and (where := printed(report)):
        report.outcome, report.longrepr = "failed", f"a token was printed: {', '.join(where)}"
    return report

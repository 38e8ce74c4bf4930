"""Fixtures of the whole suite."""

pytest_plugins = ["tests.fixtures.servers", "tests.fixtures.ledger", "tests.fixtures.stack", "tests.fixtures.docker"]

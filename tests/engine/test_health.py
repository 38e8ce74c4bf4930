"""The health cycle as users see it: `smm-admin up`, a service added by hand, stopped, started, and Postgres frozen."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.config import resource
from tests.fixtures.stack import PYTHON_BIN, Stack, eventually, free_port
from tests.health import local

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def product() -> Iterator[Stack]:
    """The product under a copy of the shipped catalogue, which tests may change."""
    base = Path(tempfile.mkdtemp(prefix="smm-health-"))
    base.chmod(0o711)
    home = base / f"home-{secrets.token_hex(3)}"
    home.mkdir(mode=0o711)
    shutil.copy(resource("deploy/smm-admin.toml"), home / "catalog.toml")
    stack = Stack(home)
    stack.environment["SMM_CATALOG_FILE"] = str(home / "catalog.toml")
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(base, ignore_errors=True)


def smm(stack: Stack, *words: str) -> tuple[int, Any]:
    """Exit code and JSON of a command, run as a user runs it."""
    environment = {**os.environ, **stack.environment}
    command = [str(PYTHON_BIN / "smm-admin"), *words, "--json"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    return ran.returncode, json.loads(ran.stdout) if ran.stdout else ran.stderr


def service(stack: Stack, name: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.health()["services"].get(name, {})
    return found


def test_the_product_watches_itself_and_is_healthy(product: Stack) -> None:
    eventually(lambda: stack_status(product) == "healthy", within=120, what=f"healthy: {product.health()}")
    services = product.health()["services"]
    assert set(services) >= {"postgres", "redis", "workers", "beat", "web", "flower", "disk", "memory"}
    assert services["redis"]["memory_mb"] > 0
    assert services["workers"]["workers"] == 5
    assert all(queue["workers"] == 1 for queue in services["workers"]["queues"].values())
    assert smm(product, "status")[0] == 0
    eventually(lambda: service(product, "postgres")["connections"] > 0, within=30, what="connections are counted")


def stack_status(product: Stack) -> str:
    return str(product.health()["status"])


def test_a_service_added_to_the_file_falls_and_rises_with_its_times(product: Stack) -> None:
    file = product.home / "catalog.toml"
    before, port = file.read_text(), free_port()
    with local.web(port=port) as web:
        text = f'\n[services.shop]\nkind = "http"\nurl = "{web.url}/ok"\ninterval = 5\ntimeout = 2\n'
        file.write_text(before + text)
        eventually(lambda: service(product, "shop").get("status") == "up", within=30, what="shop is up")
        assert smm(product, "check", "shop")[1]["readings"] == {"status_code": 200}
        stopped = time.time()
    eventually(lambda: service(product, "shop")["status"] == "down", within=60, what="shop is down")
    noticed = time.time() - stopped
    assert noticed < 45
    code, result = smm(product, "check", "shop")
    assert (code, result["error"]["code"]) == (1, "refused")
    with local.web(port=port):
        eventually(lambda: service(product, "shop")["status"] == "up", within=60, what="shop is up again")
    incident = smm(product, "incidents", "--service", "shop")[1]["incidents"][0]
    assert 8 < incident["detection_seconds"] < 30
    assert incident["recovery_seconds"] > incident["detection_seconds"]
    see_it_in_the_figures_after_the_next_rollup(product)
    file.write_text(before)
    eventually(lambda: not service(product, "shop"), within=30, what="shop is gone again")


def see_it_in_the_figures_after_the_next_rollup(product: Stack) -> None:
    assert smm(product, "schedule", "run", "health-rollup")[0] == 0
    eventually(
        lambda: product.api("availability/shop")["uptime"]["24h"]["down_seconds"] > 0,
        within=30,
        what=lambda: f"shop was down: {smm(product, 'availability', 'shop')}",
    )
    found = smm(product, "availability", "shop")[1]
    assert found["uptime"]["24h"]["incidents"] == found["recovery_seconds"]["count"] == 1
    assert found["uptime"]["24h"]["down_seconds"] == pytest.approx(found["recovery_seconds"]["mean"], abs=0.01)
    assert smm(product, "availability")[1]["stack"]["uptime"]["24h"]["percent"] is not None


def test_while_postgres_is_frozen_the_status_page_tells_it_and_afterwards_the_incident_is_stored(
    product: Stack,
) -> None:
    postmaster = product.server("postgres")
    postmaster.suspend()
    everyone = [*postmaster.children(recursive=True), postmaster]
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        eventually(lambda: service(product, "postgres")["status"] == "down", within=60, what="postgres is down")
        document = product.health()
        assert document["status"] == "unhealthy"
        assert document["alerts"][0]["service"] == "postgres"
        assert smm(product, "status")[0] == 1
    finally:
        for process in everyone:
            with suppress(psutil.NoSuchProcess):
                process.resume()
    eventually(lambda: stack_status(product) == "healthy", within=90, what=lambda: f"healthy again: {product.health()}")
    # Until the watchdog has stored what it saw, the last that Postgres knows of itself is that it was up.
    eventually(lambda: recovered(product, "postgres"), within=90, what="the incident is stored and over")
    (incident, *_) = smm(product, "incidents", "--service", "postgres")[1]["incidents"]
    assert incident["detection_seconds"] < 45


def recovered(stack: Stack, name: str) -> bool:
    """Is the last incident of a service over?"""
    (last, *_) = stack.api("incidents", service=name)["incidents"]
    return bool(last["outcome"] == "recovered")

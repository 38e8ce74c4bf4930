"""The shipped proxy before the Docker socket, run by a real HAProxy: two calls for listed containers, nothing else."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.catalog import Docker
from app.config import resource
from app.errors import Permanent
from app.infra import docker_engine
from tests.fixtures.docker import Box, Containers
from tests.fixtures.programs import need
from tests.fixtures.stack import free_port
from tests.fixtures.waiting import until

pytestmark = pytest.mark.docker

SHIPPED = resource("deploy/docker-proxy/haproxy.cfg").read_text()


@pytest.fixture
def boxes(containers: Containers) -> dict[str, Box]:
    return {name: containers.run(name, "sh", "-c", "exec sleep 600") for name in ("listed", "other")}


@pytest.fixture
def proxy(boxes: dict[str, Box], tmp_path: Path) -> Iterator[str]:
    """The shipped file with the test's container and port in it; its address."""
    program, port = need("haproxy", package="haproxy"), free_port()
    text = SHIPPED.replace("127.0.0.1:2375\n    # One", f"127.0.0.1:{port}\n    # One")
    text = text.replace("(claw-qdrant|claw-n8n|claw-worker|claw-dashboard)", f"({boxes['listed'].name}|claw-n8n)")
    assert text.count(str(port)) == 1
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    running = subprocess.Popen([program, "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: _answers(port), seconds=20, what="the proxy answers")
        yield f"127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(10)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/version", timeout=2, verify=False).status_code == 403
    except httpx.TransportError:
        time.sleep(0.05)
        return False


def test_a_listed_container_is_inspected_and_restarted_through_it(proxy: str, boxes: dict[str, Box]) -> None:
    before = boxes["listed"].look()
    with docker_engine.connected(Docker(host=f"tcp://{proxy}")) as engine:
        assert engine.inspect(boxes["listed"].name).running
        engine.restart(boxes["listed"].name, stop_seconds=0)
        after = engine.inspect(boxes["listed"].name)
    assert after.running
    assert before.started_at is not None
    assert after.started_at is not None
    assert after.started_at > before.started_at


def test_another_container_is_refused(proxy: str, boxes: dict[str, Box]) -> None:
    with docker_engine.connected(Docker(host=f"tcp://{proxy}")) as engine, pytest.raises(Permanent):
        engine.inspect(boxes["other"].name)


REFUSED = [
    ("GET", "/version"),
    ("GET", "/_ping"),
    ("GET", "/containers/json"),
    ("GET", "/info"),
    ("GET", "/images/json"),
    ("POST", "/containers/create"),
    ("GET", "/containers/{listed}/restart"),
    ("POST", "/containers/{listed}/json"),
    ("POST", "/containers/{listed}/stop"),
    ("POST", "/containers/{listed}/exec"),
    ("GET", "/containers/{listed}/archive?path=/json"),
    ("DELETE", "/containers/{listed}"),
    ("PUT", "/containers/{listed}/archive"),
    ("GET", "/containers/{other}/json"),
    ("POST", "/containers/{other}/restart"),
    ("GET", "/v1.41/containers/{other}/json"),
    ("GET", "/containers/{listed}/../{other}/json"),
    ("GET", "/containers/{listed}%2f..%2f{other}/json"),
    ("GET", "/containers/{other}/json?x=/containers/{listed}/json"),
    ("GET", "//containers/{other}/json"),
]


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_everything_else_is_refused_before_the_engine_sees_it(
    proxy: str, boxes: dict[str, Box], method: str, path: str
) -> None:
    target = path.format(**{name: box.name for name, box in boxes.items()})
    with httpx.Client(timeout=5, verify=False) as client:
        answer = client.request(
            method, f"http://{proxy}/", extensions={"target": target.encode()}, content=b"" if method != "GET" else None
        )
    assert answer.status_code == 403
    assert "Docker" not in answer.headers.get("server", "")

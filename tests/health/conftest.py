"""Servers that probes are pointed at."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.health import local


@pytest.fixture
def web() -> Iterator[local.Web]:
    with local.web() as running:
        yield running


@pytest.fixture
def silent_port() -> Iterator[int]:
    with local.silent_port() as port:
        yield port


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, valid for 30 days, with its key, in one PEM file."""
    directory = tmp_path_factory.mktemp("tls")
    key, cert, both = (directory / name for name in ("key.pem", "cert.pem", "both.pem"))
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    wanted = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=127.0.0.1"
    arguments = [*wanted.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run([openssl, *arguments], check=True, capture_output=True, timeout=30)
    both.write_text(key.read_text() + cert.read_text())
    return both

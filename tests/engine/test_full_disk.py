"""A disk that fills up under Postgres: a clear error, nothing lost, and work goes on when there is room again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import Transient
from app.infra import db, embedded, migrate
from app.infra.db import unit_of_work
from app.jobs import submit
from tests.fixtures.servers import forget

SIZE_MB = 220


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own that a test may fill."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system wants root")
    directory = Path(tempfile.mkdtemp(prefix="smm-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=711", "tmpfs", directory], check=False
    )
    if mounted.returncode != 0:
        directory.rmdir()
        if os.environ.get("CI"):
            pytest.fail("CI must be able to mount a tmpfs")
        pytest.skip("mounting is not allowed here")
    yield directory
    subprocess.run(["umount", directory], check=True)
    directory.rmdir()


def fill(directory: Path) -> Path:
    """Take all the room there is."""
    ballast = directory / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65_536))
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(512))
    return ballast


def test_a_full_disk_is_named_and_what_was_committed_stays(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    home = small_disk / "home"
    home.mkdir(mode=0o711)
    with embedded.started(Settings(home=home, database_url=None, redis_url=None)) as urls:
        monkeypatch.setenv("SMM_HOME", str(home))
        monkeypatch.setenv("DATABASE_URL", urls["postgres"])
        monkeypatch.setenv("REDIS_URL", urls["redis"])
        forget()
        migrate.upgrade()
        importlib.import_module("tasks.celery").compose()
        importlib.import_module("tests.engine.work")
        with unit_of_work() as uow:
            before = submit(uow, "tests.record", note="before")
        ballast = fill(small_disk)
        with pytest.raises(Transient, match="No space left on device|could not"):
            for _ in range(5000):
                with unit_of_work() as uow:
                    uow.execute("INSERT INTO notices (key, message) VALUES (gen_random_uuid(), repeat('x', 500000))")
        ballast.unlink()
        db.dispose()
        with unit_of_work() as uow:
            after = submit(uow, "tests.record", note="after")
            assert {row.id for row in uow.execute("SELECT id FROM jobs")} == {before, after}
        db.dispose()

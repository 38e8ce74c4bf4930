"""The bootstrap admin key: what opens the API before anyone has made a key of their own."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from app.config import Settings
from app.errors import Misconfigured
from app.infra import files


def path(config: Settings) -> Path:
    """Where the key is kept when the environment names none."""
    return config.home / "admin.key"


def load_or_create(config: Settings) -> str:
    """The key of this installation: `SMM_ADMIN_KEY`, or the text of `home/admin.key` (mode 600), made at first need.

    Processes that start together agree: the file appears whole, once, and the first one wins. Raises Misconfigured when
    the file cannot be written or holds no key.
    """
    if config.admin_key is not None:
        return config.admin_key.get_secret_value()
    file = path(config)
    try:
        if not file.exists():
            _create(file)
        key = file.read_text().strip()
    except OSError as error:
        raise Misconfigured(f"{file}: {error.strerror}") from None
    if not key:
        raise Misconfigured(f"{file} is empty: remove it, and a new key is made at the next start")
    return key


def _create(file: Path) -> None:
    files.create_once(file, f"smm_{secrets.token_urlsafe(32)}\n")


def derived(config: Settings, purpose: str) -> str:
    """A secret of its own for one purpose, made from the key: knowing it does not tell the key."""
    return hmac.new(load_or_create(config).encode(), purpose.encode(), hashlib.sha256).hexdigest()

"""The keys that tokens are sealed with: of the environment, or of a file that a fresh installation makes for itself."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app import clock
from app.config import Settings, settings
from app.errors import Misconfigured
from app.infra import crypto, files
from app.infra.crypto import Keyring

VARIABLE, FILE_VARIABLE = "SMM_TOKEN_KEYS", "SMM_TOKEN_KEYS_FILE"


def path(config: Settings) -> Path:
    """Where the keys are kept when the environment holds none."""
    return config.token_keys_file or config.home / "token.keys"


def keyring() -> Keyring:
    """The keys of this installation; a file that changed counts at once.

    Raises Misconfigured: none, damaged, unreadable. A missing file is made only beside the embedded database: with a
    database of one's own there may be tokens under other keys, and other hosts that need the same ones.
    """
    config = settings()
    if config.token_keys is not None:
        return _parsed(config.token_keys.get_secret_value(), VARIABLE)
    file = path(config)
    try:
        if not file.exists():
            _make(config, file)
        text = file.read_text()
    except OSError as error:
        raise Misconfigured(f"{file}: {error.strerror}") from None
    return _parsed(text, str(file))


@lru_cache(maxsize=2)
def _parsed(text: str, where: str) -> Keyring:
    return crypto.parse(text, where=where)


def _make(config: Settings, file: Path) -> None:
    if config.database_url is not None or config.token_keys_file is not None:
        raise Misconfigured(
            f"there is no key for tokens: set {VARIABLE} or {FILE_VARIABLE}; `smm-admin tokens keygen` makes one"
        )
    files.create_once(file, crypto.new_key(f"k{clock.now():%Y%m%d}") + "\n")

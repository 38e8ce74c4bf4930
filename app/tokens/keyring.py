"""The keys that tokens are sealed with: of the environment, or of a file that a fresh installation makes for itself."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from app import clock
from app.config import Settings, settings
from app.errors import Misconfigured
from app.infra import crypto, files
from app.infra.crypto import Keyring

VARIABLE, FILE_VARIABLE = "SMM_TOKEN_KEYS", "SMM_TOKEN_KEYS_FILE"
_NAMED = 5
"""Ids of missing keys that are named; the rest is a number."""


def path(config: Settings) -> Path:
    """Where the keys are kept when the environment holds none."""
    return config.token_keys_file or config.home / "token.keys"


def keyring() -> Keyring:
    """The keys of this installation; a file that changed counts at once. Makes none: `sealing.keys` does.

    Raises Misconfigured: none, damaged, unreadable.
    """
    found = at_hand()
    if found is None:
        raise Misconfigured(missing(settings()))
    return found


def at_hand() -> Keyring | None:
    """The same; None where there is no key yet, or none any more. Raises Misconfigured: damaged, unreadable."""
    config = settings()
    if config.token_keys is not None:
        return _parsed(config.token_keys.get_secret_value(), VARIABLE)
    file = path(config)
    try:
        text = file.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Misconfigured(f"{file}: {error.strerror}") from None
    return _parsed(text, str(file))


def missing(config: Settings, needed: Collection[str] = ()) -> str:
    """In words what is missing, where, and what to do; `needed`: the ids that stored tokens are sealed with."""
    file = path(config)
    more = f" and {len(needed) - _NAMED} more" if len(needed) > _NAMED else ""
    ids = f" ({', '.join(sorted(needed)[:_NAMED])}{more})" if needed else ""
    if config.database_url is not None and config.token_keys_file is None:
        return (
            f"there is no key for tokens{ids}: set {VARIABLE} or {FILE_VARIABLE} to the keys that all hosts have, or "
            f"put them into {file}; for the first time `smm-admin tokens keygen` makes one"
        )
    if not needed and config.token_keys_file is not None:
        return f"{file} is missing, which {FILE_VARIABLE} names: put it back; `smm-admin tokens keygen` makes an entry"
    return (
        f"{file} is missing, and with it the keys that stored tokens are sealed with{ids}: put it back, or set "
        f"{VARIABLE}; only if they are really lost, `smm-admin tokens keygen --write` makes another one, and these "
        "accounts have to be connected again"
    )


def require_first(config: Settings, needed: Collection[str]) -> None:
    """May the first key be made here? Raises Misconfigured: only beside the embedded database, while it needs none.

    With a database of one's own there may be tokens under other keys, and other hosts that need the same ones.
    """
    if needed or not _is_made_here(config):
        raise Misconfigured(missing(config, needed))


def first(needed: Collection[str]) -> Keyring:
    """The keys, of which the first is made where there is none. Raises Misconfigured where it may not be."""
    config = settings()
    if at_hand() is None:
        require_first(config, needed)
        file = path(config)
        try:
            files.create_once(file, crypto.new_key(new_id(clock.now())) + "\n")
        except OSError as error:
            raise Misconfigured(f"{file}: {error.strerror}") from None
    return keyring()


def new_id(now: datetime) -> str:
    """An id that no other key has had: under the same id, other bytes are taken for damage."""
    return f"k{now:%Y%m%d}-{secrets.token_hex(2)}"


def _is_made_here(config: Settings) -> bool:
    return config.database_url is None and config.token_keys_file is None


@lru_cache(maxsize=2)
def _parsed(text: str, where: str) -> Keyring:
    return crypto.parse(text, where=where)

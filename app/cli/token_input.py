"""Tokens and files as commands are given them: from a prompt that shows nothing, from stdin or a file, never argv."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from app.errors import Invalid, Problem
from app.infra.secret import Secret
from app.tokens.import_rows import CSV, JSON, LINES, MOST_BYTES, SUFFIXES

STDIN = "-"
FORMATS = {"csv": CSV, "json": JSON, "ndjson": LINES}
_MOST_TOKEN_BYTES = 65_536


def tokens(source: str | None, *, has_refresh: bool) -> dict[str, Any]:
    """The access token and, if there is one, the refresh token: a line each. Without a source they are asked for.

    Raises Invalid.
    """
    if source is None and sys.stdin.isatty():
        lines = [_asked("access token")]
        if has_refresh:
            lines.append(_asked("refresh token (empty: none)"))
    else:
        raw = read(source or STDIN, most=_MOST_TOKEN_BYTES)
        try:
            lines = [line.strip() for line in raw.decode().splitlines()]
        except UnicodeDecodeError:
            raise Invalid([Problem("--from", "is no text")], subject="token") from None
    given = [line for line in lines if line]
    if not given or len(given) > 2:
        message = "must be the access token and, on a second line, the refresh token if there is one"
        raise Invalid([Problem("--from", message)], subject="token")
    return {name: Secret(line) for name, line in zip(("access_token", "refresh_token"), given, strict=False)}


def read(source: str, *, most: int = MOST_BYTES) -> bytes:
    """A file, or stdin for `-`. Raises Invalid."""
    try:
        if source == STDIN:
            raw = sys.stdin.buffer.read(most + 1)
        else:
            with Path(source).open("rb") as stream:
                raw = stream.read(most + 1)
    except OSError as error:
        raise Invalid([Problem("FILE", f"cannot be read: {error.strerror}")], subject="arguments") from None
    if len(raw) > most:
        raise Invalid([Problem("FILE", f"is larger than {most} bytes")], subject="arguments")
    return raw


def content_type(source: str, written: str | None) -> str:
    """What a file of accounts is: as was said, else by its name. Raises Invalid."""
    found = FORMATS.get(written) if written is not None else SUFFIXES.get(Path(source).suffix.lower())
    if found is None:
        raise Invalid([Problem("--format", f"must be one of {', '.join(FORMATS)}")], subject="arguments")
    return found


def _asked(what: str) -> str:
    return str(typer.prompt(what, default="", hide_input=True, show_default=False, err=True))

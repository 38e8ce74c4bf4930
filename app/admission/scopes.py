"""Of what a pause may be: everything, a platform, a tenant and others who spend, an account, an operation. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.catalog import OPERATION
from app.errors import Problem
from app.infra.text import storable

LONGEST_NAME = 200
SHAPES = "all, platform:P, tenant:T, department:D, user:U, agent:A, skill:S, account:P/A or operation:O"


def problems(scope: str) -> Iterator[Problem]:
    """What is wrong with a scope, for people."""
    kind, colon, name = scope.partition(":")
    match kind:
        case "all" if not colon:
            return
        case "platform" | "tenant" | "department" | "user" | "agent" | "skill" if colon:
            yield from _name(kind, name)
        case "operation" if colon:
            if not re.fullmatch(OPERATION, name):
                yield Problem("scope", f"the operation's name must match {OPERATION}")
        case "account" if colon:
            platform, slash, account = name.partition("/")
            if not slash:
                yield Problem("scope", "an account is written account:PLATFORM/NAME")
                return
            yield from _name("platform", platform)
            yield from _name("account", account)
        case _:
            yield Problem("scope", f"must be {SHAPES}")


def _name(kind: str, name: str) -> Iterator[Problem]:
    """As admission takes names: what nobody can ask about is not paused by mistake."""
    if not 1 <= len(name) <= LONGEST_NAME:
        yield Problem("scope", f"the {kind}'s name must have 1 to {LONGEST_NAME} characters")
    elif not name.isprintable() or storable(name) != name:
        yield Problem("scope", f"the {kind}'s name must be one line of printable text")

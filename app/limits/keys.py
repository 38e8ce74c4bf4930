"""Names of everything the limiter keeps in Redis."""

from __future__ import annotations

from app.infra.redis import PREFIX

ROOT = f"{PREFIX}limits:"
EPOCH = f"{ROOT}epoch"
"""String `whole:ID`, or `filling:ID` while counters are brought back; missing: Redis has lost its memory."""

STATE = f"{ROOT}of:"
"""String per subject: its counters (lua/common.lua has the shape)."""

RECORD = f"{ROOT}id:"
"""String per id that was decided: what it consumed."""

HOLDS = f"{ROOT}holds"
"""Hash: scope (`all`, `platform:P`, `tenant:T`, `account:P/A`, `operation:O`, `service:S`) → lines
`LEAST UNTIL EFFECT REASON`: rank from which it holds, end in ms or 0, `wait`, `deny`, `token` (only what needs the
account's token waits) or `hint` (nothing waits), words for people."""

CHANGED = f"{ROOT}changed"
"""Set of subjects whose state changed since the last snapshot."""

TAKING = f"{ROOT}taking"
"""The same set while a snapshot writes it down."""

SNAPSHOT_AT = f"{ROOT}snapshot_at"
"""String: when the last complete snapshot began, in milliseconds since 1970."""

BEGINNING = f"{ROOT}beginning"
"""String: whoever begins a new epoch after a loss; it lives a few seconds."""

FILLED = f"{ROOT}filled"
"""String `EPOCH SUBJECT`: up to which subject counters have been brought back."""

CROSSINGS = f"{ROOT}crossings"
"""List of JSON: thresholds that were crossed, oldest first, until they are signals."""

LEASES = f"{ROOT}leases"
"""Sorted set of record keys by the end of their lease in ms: reservations that nobody settled yet."""

RESERVING = f"{ROOT}reserving"
"""String that is there while money may be reserved under an id (lua/decide.lua)."""

CALLS = f"{PREFIX}costs:calls"
"""Stream: LLM calls that were recorded and are not in Postgres yet (lua/spend.lua)."""

CALLS_BYTES = f"{PREFIX}costs:bytes"
"""String: bytes of the payloads in that stream."""


def account(platform: str | None, name: str) -> str:
    """The subject of an account: `account:PLATFORM/NAME`."""
    return f"account:{platform or '-'}/{name}"


def tenant(name: str) -> str:
    """The subject, and the scope, of a tenant."""
    return f"tenant:{name}"


EVERYBODY = "all"
"""The subject, and the scope, of everything."""

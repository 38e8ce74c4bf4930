"""Who waits for what: newcomers who need the same wait behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from app.errors import Transient
from app.limits import keys, rebuild
from app.limits.asking import read
from app.limits.wire import Script

_MARK = Script("mark")
_WAITING = Script("waiting")


def mark(subject: str, lanes: Mapping[str, int], *, whole: bool) -> None:
    """Say which limits and operations work of the subject's queue waits for, each with the rank of the most urgent.

    `whole`: these are all; otherwise they are added, and of two ranks the more urgent stays. Mark again each minute:
    lanes are forgotten an hour after the last decision or mark. Works before a new epoch has begun. Raises Transient.
    """
    mark_many({subject: lanes}, whole=whole)


def mark_many(wanted: Mapping[str, Mapping[str, int]], *, whole: bool) -> None:
    """The same for many subjects, in one round trip. Raises Transient: then some may be marked."""
    missing = _mark(wanted, whole)
    if missing:
        rebuild.restore(missing)
        if _mark({subject: wanted[subject] for subject in missing}, whole):
            raise Transient("the counters are not whole yet")


def _mark(wanted: Mapping[str, Mapping[str, int]], whole: bool) -> list[str]:
    """The subjects whose counters are not brought back yet."""
    how = "whole" if whole else "more"
    calls = [([keys.STATE + subject], [json.dumps(dict(lanes)), how]) for subject, lanes in wanted.items()]
    answers = _MARK.call_many(calls) if calls else []
    return [subject for subject, raw in zip(wanted, answers, strict=True) if read(raw)["v"] == "unknown"]


def note_waiting(key: str, operation: str, milliseconds: int) -> bool:
    """Remember for so long that an id waits, for its retries; False where it was decided. Raises Transient."""
    return bool(_WAITING.call([keys.RECORD + key], [max(1, milliseconds), operation]))


def note_many(notes: Sequence[tuple[str, str, int]]) -> None:
    """`note_waiting` for many, each a key, an operation and milliseconds, in one round trip. Raises Transient."""
    if notes:
        _WAITING.call_many([([keys.RECORD + key], [max(1, ms), operation]) for key, operation, ms in notes])


def forget_waiting(key: str) -> bool:
    """Forget that an id waits; False where it does not. What was decided under it stays. Raises Transient."""
    return bool(_WAITING.call([keys.RECORD + key], [0, ""]))

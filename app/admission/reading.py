"""What others are told of modes: the whole document, one operation, and the short form that is kept in Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app import clock
from app.admission import store
from app.admission.core import Answer, Hold, answers


@dataclass(frozen=True, slots=True)
class Modes:
    """Every mode that is on. `version` changes with every change; two documents of one version say the same."""

    version: int
    as_of: datetime
    holds: Sequence[Hold]
    operations: Mapping[str, Answer] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """JSON-ready: one entry of `modes` for each holder, so that a mode held by two is there twice."""
        return {
            **self._head(),
            "modes": [hold_shown(hold) for hold in self.holds],
            "operations": {
                name: {**_short(answer), "modes": list(answer.modes)} for name, answer in self.operations.items()
            },
        }

    def short(self) -> dict[str, Any]:
        """What is kept in Redis."""
        return {**self._head(), "operations": {name: _short(answer) for name, answer in self.operations.items()}}

    def of(self, operation: str) -> dict[str, Any]:
        """JSON-ready: what one operation shall do; an operation that no mode names goes on as ever."""
        answer = self.operations.get(operation, Answer())
        return {**self._head(), "operation": operation, **_short(answer), "modes": list(answer.modes)}

    def held_by(self, name: str) -> list[str]:
        """Who holds this mode on."""
        return [hold.set_by for hold in self.holds if hold.name == name]

    def _head(self) -> dict[str, Any]:
        return {"version": self.version, "as_of": clock.iso(self.as_of)}


def read(session: Session) -> Modes:
    """The modes as they are now."""
    version, as_of, holds = store.read(session)
    return Modes(version, as_of, holds, answers(holds))


def hold_shown(hold: Hold) -> dict[str, Any]:
    """JSON-ready."""
    return {
        "id": str(hold.id),
        "name": hold.name,
        "set_by": hold.set_by,
        "reason": hold.reason,
        "cause": list(hold.cause),
        "fall_back": list(hold.fall_back),
        "wait": list(hold.wait),
        "since": clock.iso(hold.since),
        "on_since": clock.iso(hold.on_since),
        "until": None if hold.until is None else clock.iso(hold.until),
    }


def _short(answer: Answer) -> dict[str, Any]:
    return {
        "effect": str(answer.effect),
        "since": None if answer.since is None else clock.iso(answer.since),
        "reason": "; ".join(answer.reasons),
    }

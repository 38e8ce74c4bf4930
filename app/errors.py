"""Errors whose type says what happens next; nothing else in the product decides by message text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

_SEVERAL = frozenset({"arguments", "calls", "figures", "matchers"})
"""Subjects of bad input that are more than one thing."""


class SmmError(Exception):
    """Base of every error the product raises on purpose."""


class Transient(SmmError):
    """Worth another try: network trouble, a busy or restarting dependency.

    `retry_after`, when the other side named one, is respected as the least wait.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Permanent(SmmError):
    """Another try cannot help: the job is dead at once and shown to an operator."""


class Misconfigured(SmmError):
    """The installation is wrong, not the work: dead at once, and an operator is told once."""


class Conflict(SmmError):
    """Someone else already did it. A job that ends in Conflict has succeeded."""


class NotFound(SmmError):
    """What was named does not exist: another try cannot help either."""


class LeaseLost(SmmError):
    """The job was taken back while this worker still held it: whatever it was about to commit is rolled back."""


class Cancelled(SmmError):
    """A running job noticed that an operator asked for its cancellation."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: the field's path in dots ("services.web.interval") and what is wrong."""

    field: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f" (line {self.line})" if self.line is not None else ""
        return f"{self.field}{where}: {self.message}".lstrip(": ")


class Invalid(Permanent):
    """Bad input. `problems` names every field that is wrong, never only the first."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...], *, subject: str = "input") -> None:
        self.problems = tuple(problems)
        self.subject = subject
        verb = "are" if subject in _SEVERAL else "is"
        super().__init__(f"{subject} {verb} not valid: " + "; ".join(str(problem) for problem in self.problems))

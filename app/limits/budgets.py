"""Budgets as the limiter counts them: which of them apply to a call, each as a limit with a ceiling for every class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.catalog import Budget, Budgeting, RateLimit
from app.limits.spending import Who


@dataclass(frozen=True, slots=True)
class Override:
    """Another amount than the catalogue's, in millionths of a dollar: of all subjects ("") or of one."""

    name: str
    subject: str
    amount: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """A budget as one subject's counter."""

    budget: Budget
    subject: str
    limit: RateLimit


class Effective:
    """The budgets that are in force: the catalogue's, people's own, and the amounts that people set."""

    def __init__(self, budgeting: Budgeting, overrides: Sequence[Override] = ()) -> None:
        self.budgeting = budgeting
        self.overrides = tuple(overrides)

    def of(self, who: Who) -> tuple[Counted, ...]:
        """Every budget that a call for `who` counts in."""
        raise NotImplementedError

    def counted(self, budget: str, subject: str) -> Counted | None:
        """One budget of one subject; None where it does not apply."""
        raise NotImplementedError


def effective() -> Effective:
    """The budgets in force, kept until the catalogue or an override changes."""
    raise NotImplementedError

"""Several steps that must not take each other down: each is tried, and what failed is told once at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.errors import SmmError, Transient
from app.infra.db import describe


class Steps:
    """Steps done apart. `step` keeps a failure for later, `conclude` raises Transient when there was one."""

    def __init__(self) -> None:
        self._failed: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run the block; a failure of the database or of our own ends this step only."""
        try:
            yield
        except SmmError as error:
            self._failed.append(f"{name}: {error}")
        except DBAPIError as error:
            self._failed.append(f"{name}: {describe(error)}")
        except SQLAlchemyError as error:
            self._failed.append(f"{name}: {type(error).__name__}")

    def conclude(self) -> None:
        """Raises Transient that names every step that failed."""
        if self._failed:
            raise Transient("; ".join(self._failed))

"""What an action is given and what it gives back. A kind of action is one file in `actions/`:

    NAME, SUMMARY, EFFECT (none, change, restart), KINDS (of services it can act on; empty: all), Options (pydantic,
    extra forbidden),
    says(options, service) -> what it is about to do, in words without secrets,
    forbidden(options, service, catalog) -> why the catalogue does not allow it, or None,
    act(options, work) -> Done | Failed | Again

An expected failure is a result, never an exception; all of its waits end within `work.timeout_seconds`. It may be
called twice for one step, because whoever called it first died: then `work.interrupted_at` is set, and it must see for
itself what that try has done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from app.catalog import Catalog, Service
from app.health.core import State
from app.health.probing import Target
from app.health.specs import Spec
from app.recovery.core import Again, Done, Effect, Failed, Result, Run

__all__ = ["ActionModule", "Again", "Done", "Effect", "Failed", "Options", "Result", "Seen", "Work"]


class Options(BaseModel):
    """Base of every action's options: an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe of the service has just found, and how the service stands after it.

    `ok` is None when nothing could be told. `confirm_seconds`: how soon the next one is due where it is not certain
    yet that the service is back.
    """

    ok: bool | None
    text: str
    state: State
    over: bool | None
    confirm_seconds: float = 5.0
    readings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """One try of one step. `probe` probes the run's service, stores the result and says what it saw.

    `began_at`: when the step's first try began (this one's, unless it is called again); `tries` counts them from 1.
    `last_detail` is what the try before this one left.
    """

    run: Run
    place: int
    catalog: Catalog
    service: Service
    spec: Spec
    target: Target = field(repr=False)
    now: datetime
    began_at: datetime
    probe: Callable[[], Seen] = field(repr=False)
    tries: int = 1
    interrupted_at: datetime | None = None
    timeout_seconds: float = 30.0
    job_id: UUID | None = None
    last_detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same at each try of this step: for other sides that take an idempotency key."""
        return f"{self.run.id}-{self.place}"


class ActionModule(Protocol):
    """The shape of a file in `actions/`."""

    NAME: str
    SUMMARY: str
    EFFECT: Effect
    KINDS: tuple[str, ...]
    Options: type[Options]

    def says(self, options: Any, service: Service) -> str: ...

    def forbidden(self, options: Any, service: Service, catalog: Catalog) -> str | None: ...

    def act(self, options: Any, work: Work) -> Result: ...

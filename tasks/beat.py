"""Beat's scheduler: the stock one in memory, plus a heartbeat. What must not be skipped is in Postgres."""

from __future__ import annotations

from typing import Any

from celery.beat import Scheduler

from app.infra.heartbeat import BrokerVigil, Heartbeat


class Timetable(Scheduler):  # type: ignore[misc]
    """Ticks as Celery's own scheduler does and says that it is alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heartbeat = Heartbeat("beat")
        self._vigil = BrokerVigil(self._heartbeat)

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """One round of the stock scheduler, which waits for a broker that is away."""
        self._heartbeat.touch()
        self._vigil.start()
        return super().tick(*args, **kwargs)

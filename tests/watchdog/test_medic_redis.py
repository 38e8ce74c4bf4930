"""A Redis that is nearly full, or full to the brim, is repaired by a watchdog while Postgres is away."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.config import settings
from app.health.core import State
from app.infra import db
from app.infra.db import read_only
from app.infra.eviction import memory_of
from app.recovery.core import Run, Verdict
from app.recovery.store import runs
from app.watchdog.copied import Copied
from app.watchdog.journal import Journal
from app.watchdog.medic import Medic
from app.watchdog.recorder import Recorder
from app.watchdog.sights import Sights
from app.watchdog.watch import Watchdog
from tests.health import local
from tests.health.catalogs import use
from tests.recovery.actions.conftest import SMALL_MB
from tests.recovery.actions.filling import fill, is_full, put
from tests.watchdog.mending import Heard
from tests.watchdog.paging import RULES, webhook
from tests.watchdog.watching import Watching

pytestmark = pytest.mark.slow

PLAYBOOK = """
[recovery]
cooldown = 0
cache_prefixes = ["cache:"]

[playbooks.cache-eviction]
on = ["health.warning", "health.degraded"]
when = {"labels.kind" = "redis", "facts.levels.memory_percent" = ["warning", "degraded"]}
steps = [
    {do = "evict_keys", prefix = "cache:", target_percent = 80, on_failure = "go_on"},
    {do = "probe"},
    {do = "raise_maxmemory", by_mb = 16, up_to_mb = CEILING},
    {do = "probe"},
]
advice = "plan more memory for {subject}"
"""
QUEUES = 500


class OnDuty(Watching):
    """A watchdog that repairs, whose turns the test makes; the medic has its own thread."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "run")
        self.heard = Heard()
        self.journal = Journal(home / "repairs.jsonl")
        sights = Sights()
        self.medic = Medic(
            sights, self.journal, Copied, stop_file=home / "stop.json", changed=lambda: None, pages=self.heard
        )
        self.dog = Watchdog(self.run_dir, self.spool, lambda: None, self.told, repairs=sights)
        sights.use(self.dog.ask)
        self.medic.start()

    def ends(self) -> Run:
        """The only run, once it has ended."""
        self.until(lambda: any(run.ended_at for run in self.journal.runs()), 60)
        (run,) = self.journal.runs()
        return run


@pytest.fixture
def duty(
    small: Any, small_server: str, database: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., OnDuty]]:
    """`duty(ceiling)`: a watchdog of the small server, whose playbook may raise its memory so far; no Postgres."""
    made: list[OnDuty] = []

    def begin(ceiling: int) -> OnDuty:
        redis = (
            f"[services.redis]\nkind = 'redis'\nurl = '{small_server}'\nseverity = 'critical'\n"
            "watched_by = 'watchdog'\ninterval = 1\nconfirm_interval = 1\ntimeout = 2\n"
        )
        use(monkeypatch, home, redis + PLAYBOOK.replace("CEILING", str(ceiling)) + webhook() + RULES)
        monkeypatch.setenv("DATABASE_URL", f"postgresql://smm@127.0.0.1:{local.closed_port()}/smm")
        settings.cache_clear()
        db.dispose()
        made.append(OnDuty(home))
        return made[-1]

    yield begin
    for each in made:
        each.medic.stop()


def queue(client: Any) -> None:
    put(client, [(f"queue:{number}", 99_999) for number in range(QUEUES)])


def queues(client: Any) -> int:
    return sum(1 for _ in client.scan_iter(match="queue:*", count=1000))


@pytest.mark.parametrize("percent", [92, 101])
def test_the_cache_is_made_smaller_and_nothing_else(duty: Callable[..., OnDuty], small: Any, percent: float):
    queue(small)
    fill(small, percent)
    assert is_full(small) is (percent > 100)
    here = duty(ceiling=512)
    run = here.ends()
    assert run.verdict is Verdict.RECOVERED
    assert run.steps[0].text.startswith("evicted ")
    assert memory_of(small).percent <= 80
    assert memory_of(small).ceiling == SMALL_MB * 1024**2
    assert queues(small) == QUEUES
    assert not is_full(small)
    here.until(lambda: here.state("redis") is State.UP)
    assert here.heard.failures == []


def test_what_is_no_cache_gets_more_memory_instead(duty: Callable[..., OnDuty], small: Any):
    kept = fill(small, 101, prefix="queue:", idle=99_999)
    run = duty(ceiling=512).ends()
    assert run.verdict is Verdict.RECOVERED
    assert run.steps[2].text.startswith("raised maxmemory from 32 MB to 48 MB")
    assert queues(small) == kept


def test_at_the_ceiling_a_person_is_needed_and_is_told_what_was_tried(duty: Callable[..., OnDuty], small: Any):
    kept = fill(small, 101, prefix="queue:", idle=99_999)
    here = duty(ceiling=SMALL_MB)
    run = here.ends()
    assert run.verdict is Verdict.ESCALATED
    assert run.advice == "plan more memory for redis"
    assert queues(small) == kept
    (failure,) = here.heard.failures
    assert failure.run.id == run.id


def test_the_repair_is_in_the_tables_once_postgres_is_there_and_in_the_alert(
    duty: Callable[..., OnDuty], small: Any, database: str, monkeypatch: pytest.MonkeyPatch
):
    fill(small, 101)
    here = duty(ceiling=512)
    run = here.ends()
    recorder = Recorder(here.spool, None, here.journal)
    assert not recorder.store_some()
    monkeypatch.setenv("DATABASE_URL", database)
    settings.cache_clear()
    db.dispose()
    importlib.import_module("tasks.celery").compose()
    while recorder.store_some():
        pass
    with read_only() as session:
        (stored,) = runs(session, "true")
        kinds = session.connection().exec_driver_sql("SELECT kind FROM signals ORDER BY id").scalars().all()
    assert stored.id == run.id
    assert stored.verdict is Verdict.RECOVERED
    assert kinds[:3] == ["recovery.started", "recovery.acted", "recovery.recovered"]
    assert "health.degraded" in kinds[3:]
    assert here.journal.lines("redis", clock.now()).startswith(f"{run.steps[0].ended_at:%H:%M:%S} evicted")

"""A worker on another host, joined by its two URLs alone, and what happens when the network between is lost."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from app.infra import metrics, migrate, queue, redis
from app.infra.db import read_only, unit_of_work
from app.jobs import JobState, admin, submit
from app.jobs.core import FINISHED
from tests.engine import effects
from tests.fixtures.second_host import HOSTNAME, Network, external_servers, network, product, up
from tests.fixtures.servers import OURS, forget
from tests.fixtures.stack import eventually

pytestmark = [pytest.mark.netns, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
WORKER = f"default@{HOSTNAME}"
LEASE_SECONDS = 4.0
RECOVERY_SECONDS = 60


@pytest.fixture(scope="module")
def cable(open_directory: Path) -> Iterator[tuple[Network, dict[str, str]]]:
    """The second host running `worker-default`, this one beat and the tick worker; and this one's environment."""
    common = {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | {
        "PYTHONPATH": str(ROOT),
        "SMM_TASK_MODULES": '["tests.engine.work"]',
        "SMM_LEASE_SECONDS": str(LEASE_SECONDS),
        "SMM_RING_AGAIN_SECONDS": "2",
    }
    servers, first, second = (open_directory / f"second-host-{name}" for name in ("servers", "first", "second"))
    for directory in (servers, first, second):
        directory.mkdir(mode=0o711)
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network())
        here, there = stack.enter_context(external_servers(servers, net))
        migrate.upgrade(here["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://"))
        first_host = common | here | {"SMM_HOME": str(first)}
        second_host = common | there | {"SMM_HOME": str(second)}
        stack.enter_context(product(up("beat", "worker-tick"), first_host, first / "up.log"))
        stack.enter_context(product(net.command(*up("worker-default")), second_host, second / "up.log"))
        yield net, here | {"SMM_HOME": str(first), "SMM_TASK_MODULES": '["tests.engine.work"]'}


@pytest.fixture
def net(cable: tuple[Network, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """The cable, plugged in, with the other host's worker heard."""
    for name, value in cable[1].items():
        monkeypatch.setenv(name, value)
    forget()
    queue.after_fork()
    importlib.import_module("tasks.celery").compose()
    with unit_of_work() as uow:
        uow.execute(effects.CREATE)
    eventually(lambda: redis.client().hexists(redis.WORKERS_KEY, WORKER), within=90, what=f"{WORKER} is heard")
    yield cable[0]
    cable[0].plug_it_in()
    queue.after_fork()


def submitted(task: str, **kwargs: object) -> UUID:
    with unit_of_work() as uow:
        return submit(uow, task, **kwargs)


def job(job_id: UUID) -> admin.JobView:
    with read_only() as session:
        return admin.get(session, job_id)


def ended(job_id: UUID, *, within: float) -> admin.JobView:
    eventually(lambda: job(job_id).state in FINISHED, within=within, what=f"job {job_id} ends")
    return job(job_id)


def effects_of(job_id: UUID) -> list[str]:
    with unit_of_work() as uow:
        return [row.note for row in uow.execute(effects.ALL) if row.job == job_id]


def test_a_job_submitted_here_is_run_by_the_worker_of_the_other_host(net: Network) -> None:
    job_id = submitted("tests.record", note="from afar")
    found = ended(job_id, within=30)
    assert (found.state, found.worker) == (JobState.SUCCEEDED, WORKER)
    assert effects_of(job_id) == ["from afar"]


def test_what_the_other_host_counted_is_on_the_page_here(net: Network) -> None:
    ended(submitted("tests.record", note="counted"), within=30)
    line = b'smm_job_attempts_total{outcome="succeeded",task="tests.record"}'
    eventually(lambda: line in metrics.render()[0], within=15, what="the other host's counts arrive")
    assert b'smm_scrape_source_up{source="redis"} 1.0' in metrics.render()[0]


def test_jobs_before_in_and_after_a_lost_network_each_leave_their_effect_once(net: Network) -> None:
    running = submitted("tests.record", note="running", seconds=2)
    eventually(lambda: job(running).state == JobState.RUNNING, within=30, what="the job runs over there")
    net.pull_the_cable()
    waiting = submitted("tests.record", note="waiting")
    taken_back = eventually(lambda: job(running).state != JobState.RUNNING, within=30, what="the lease runs out")
    assert taken_back
    assert job(waiting).state not in FINISHED
    net.plug_it_in()
    after = submitted("tests.record", note="after")
    for job_id, note in ((running, "running"), (waiting, "waiting"), (after, "after")):
        found = ended(job_id, within=RECOVERY_SECONDS)
        assert (found.state, found.worker) == (JobState.SUCCEEDED, WORKER)
        assert effects_of(job_id) == [note]
    assert job(running).attempt > 1

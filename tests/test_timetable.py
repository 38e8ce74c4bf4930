"""The tables of celeryconfig.py and the Procfile agree with one another and with the tasks that are declared."""

from __future__ import annotations

from pathlib import Path

import celeryconfig
from app.infra import queue
from app.infra.supervisor.procfile import load
from app.jobs import spec
from app.jobs.schedule import Dated, Every
from tasks import base
from tasks.celery import compose

PROCFILE = Path(__file__).resolve().parent.parent / "Procfile"


def served() -> dict[str, list[str]]:
    """By worker of the Procfile: the queues that it serves."""
    return {
        entry.name: entry.words[entry.words.index("-Q") + 1].split(",")
        for entry in load(PROCFILE)
        if "worker" in entry.words
    }


def test_every_queue_is_served_by_a_worker_of_the_procfile_and_no_worker_serves_another() -> None:
    assert {name for queues in served().values() for name in queues} == set(celeryconfig.QUEUES)


def test_ticks_have_a_worker_of_their_own() -> None:
    assert [name for name, queues in served().items() if "tick" in queues] == ["worker-tick"]
    assert served()["worker-tick"] == ["tick"]
    ticks = {
        entry.task: celeryconfig.queue_of(entry.task)
        for entry in celeryconfig.BEAT.values()
        if isinstance(entry, Every)
    }
    elsewhere = {task for task, queue in ticks.items() if queue != "tick"}
    # These do the work themselves, for seconds at times; the others only look for it.
    assert elsewhere <= {
        "tasks.limits.keep",
        "tasks.limits.reset",
        "tasks.admission.release",
        "tasks.costs.ingest",
        "tasks.tokens.sweep",
    }


def test_every_worker_has_a_name_of_its_own() -> None:
    nodes = [entry.words[entry.words.index("-n") + 1] for entry in load(PROCFILE) if "worker" in entry.words]
    assert len(nodes) == len(set(nodes))


def test_every_task_is_routed_to_a_queue_that_exists_by_a_row_of_its_own() -> None:
    compose()
    ours = [name for name in base.names() if name.startswith("tasks.")]
    assert len(ours) > 5
    assert {celeryconfig.queue_of(name) for name in ours} <= set(celeryconfig.QUEUES)
    rows = [pattern for pattern in celeryconfig.ROUTES if pattern != "*"]
    assert [name for name in ours if not any(celeryconfig.fnmatchcase(name, row) for row in rows)] == []
    assert set(queue.names()) == set(celeryconfig.QUEUES)


def test_what_the_timetable_and_the_subscriptions_name_is_declared() -> None:
    compose()
    jobs = {contract.name for contract in spec.every()}
    dated = {entry.task for entry in celeryconfig.BEAT.values() if isinstance(entry, Dated)}
    told = {task for tasks in celeryconfig.SUBSCRIPTIONS.values() for task in tasks}
    assert dated | told <= jobs
    assert {entry.task for entry in celeryconfig.BEAT.values()} <= set(base.names())


def test_a_tick_expires_but_not_for_a_few_seconds_between_two_hosts_clocks() -> None:
    for name, entry in celeryconfig.BEAT.items():
        if isinstance(entry, Every):
            assert celeryconfig.beat_schedule[name]["options"]["expires"] == max(entry.seconds, 10)


def test_time_limits_end_a_task_before_its_message_is_delivered_again() -> None:
    for soft, hard in celeryconfig.LIMITS.values():
        assert soft < hard < celeryconfig.visibility_timeout

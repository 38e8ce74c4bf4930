"""Runs and modes that are long over are forgotten; what stands is kept however old it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app import admission, clock
from app.admission import retention as modes
from app.infra.db import unit_of_work
from app.recovery import retention
from tests.recovery.field import PLAYBOOK, service_of


def test_what_was_over_long_ago_goes_with_its_steps_and_what_stands_stays(play: Any) -> None:
    field = play.begin(service_of("over") + service_of("standing") + PLAYBOOK)
    for name in ("over", "standing"):
        field.fall(name)
        field.work()
    field.rise("over")
    field.look()
    assert retention.drop_old(clock.now()) == {"recovery_runs": 0, "recovery_restarts": 0}
    field.age(days=91)
    assert retention.drop_old(clock.now()) == {"recovery_runs": 1, "recovery_restarts": 2}
    assert [run.service for run in field.runs()] == ["standing"]
    assert field.sql("SELECT count(DISTINCT run_id) AS n FROM recovery_steps")[0].n == 1


def test_a_mode_that_ended_long_ago_goes_and_one_that_lasts_stays(play: Any) -> None:
    field = play.begin(service_of("qdrant") + PLAYBOOK)
    now = clock.now()
    with unit_of_work() as uow:
        for name in ("ended", "lasting"):
            admission.enter(uow, name, by="person:ann", reason="a test", now=now, wait=("publish",))
        admission.leave(uow, "ended", by="person:ann", now=now)
    assert modes.drop_old(now)["operation_modes"] == 0
    assert modes.drop_old(now + timedelta(days=91))["operation_modes"] == 1
    assert [row.name for row in field.sql("SELECT name FROM operation_modes")] == ["lasting"]

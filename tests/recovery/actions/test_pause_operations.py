"""Operations that wait or fall back while a run says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from pydantic import ValidationError

from app.admission import Modes, read
from app.infra.db import read_only
from app.recovery.acting import Done, Failed, Work
from app.recovery.actions import actions
from tests.fixtures.ledger import Ledger
from tests.recovery.actions.working import act, service_of, work_of

OPERATIONS = ["publish", "analytics"]


@pytest.fixture
def work(ledger: Ledger) -> Work:
    return work_of(service_of("redis"))


def waiting() -> set[str]:
    """What waits now, for everybody who asks."""
    return {word for hold in modes().holds for word in hold.wait}


def modes() -> Modes:
    with read_only() as session:
        return read(session)


def test_operations_wait_until_the_same_run_resumes_them(work: Work):
    paused = act("pause_operations", work, operations=OPERATIONS)
    assert isinstance(paused, Done)
    assert paused.text == "mode playbook:it-again is on: publish, analytics wait"
    assert paused.detail == {"mode": "playbook:it-again", "wait": OPERATIONS, "fall_back": []}
    assert waiting() == set(OPERATIONS)
    [hold] = modes().holds
    assert (hold.reason, hold.cause) == ("playbook it-again for it", ("it",))
    assert hold.until == work.now + timedelta(minutes=60)
    resumed = act("resume_operations", work)
    assert resumed == Done(
        "resumed analytics, publish", {"mode": "playbook:it-again", "operations": sorted(OPERATIONS)}
    )
    assert waiting() == set()


def test_a_try_that_is_repeated_holds_them_once(work: Work):
    act("pause_operations", work, operations=OPERATIONS)
    act("pause_operations", replace(work, interrupted_at=work.now, tries=2), operations=OPERATIONS)
    assert len(modes().holds) == 1
    act("resume_operations", work)
    assert act("resume_operations", work) == Done(
        "nothing was paused by this run (mode playbook:it-again)", {"mode": "playbook:it-again", "operations": []}
    )


def test_what_another_run_holds_stays(work: Work):
    other = replace(work, run=replace(work.run, id=uuid4()))
    act("pause_operations", work, operations=OPERATIONS)
    act("pause_operations", other, operations=["publish"])
    act("resume_operations", work)
    assert waiting() == {"publish"}


def test_operations_may_fall_back_instead_under_a_name_of_their_own(work: Work):
    options = {"operations": "brand-context", "effect": "fall_back", "mode": "no-vectors", "reason": "too slow"}
    result = act("pause_operations", work, **options)
    assert isinstance(result, Done), result
    assert result.text == "mode no-vectors is on: brand-context fall back"
    assert modes().of("brand-context")["effect"] == "fall_back"
    act("resume_operations", work, mode="no-vectors")
    assert modes().of("brand-context")["effect"] == "none"


def test_names_that_are_none_are_failures_that_name_them(work: Work):
    wrong = act("pause_operations", work, operations=["Not A Name"])
    assert isinstance(wrong, Failed)
    assert "wait" in wrong.text
    unknown = act("pause_operations", work, mode="not-in-the-catalogue")
    assert isinstance(unknown, Failed)
    assert "the catalogue has no mode of this name" in unknown.text


def test_something_must_be_named():
    with pytest.raises(ValidationError, match="needs operations"):
        actions()["pause_operations"].Options.model_validate({})


def test_says_what_it_will_do(work: Work):
    module = actions()["pause_operations"]
    options = module.Options.model_validate({"operations": OPERATIONS, "minutes": 15})
    assert module.says(options, work.service) == "pause publish, analytics for up to 15 min 0 s"

"""Playbooks judged before they are taken up: each mistake by its line and key."""

from __future__ import annotations

import pytest

from app import catalog
from app.catalog import Catalog
from app.config import resource, variable
from app.errors import Invalid
from app.recovery import reading
from app.recovery.catalog_check import is_allowed
from app.recovery.checks import CHECKS
from tests.health.catalogs import tcp

SECRETS = {"HOOK": "https://hooks.example.com/T0SECRET"}


def parsed(text: str) -> Catalog:
    return catalog.parse(text, CHECKS, lookup=lambda name: SECRETS.get(name) or variable(name))


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as found:
        parsed(text)
    return [str(problem) for problem in found.value.problems]


def playbook(step: str, **more: str) -> str:
    keys = {"on": '"health.down"', "steps": f"[{step}]", **more}
    return tcp("shop") + "[playbooks.mend]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()) + "\n"


MISTAKES = [
    (playbook('{do = "restart_contaner"}'), "playbooks.mend.steps[0].do (line 7): is none of", "did you mean"),
    (playbook('{after = 3}'), "playbooks.mend.steps[0].do (line 7)", "is required"),
    (playbook('{do = "probe", evry = 3}'), "playbooks.mend.steps[0].evry (line 7)", 'did you mean "every"'),
    (playbook('{do = "probe", every = "often"}'), "playbooks.mend.steps[0].every (line 7)", "number"),
    (playbook('{do = "evict_keys", prefix = "{servce.name}"}'), "mend.steps[0].prefix (line 7)", "begins with none of"),
    (playbook('{do = "probe"}', when='{"reading.x" = 3}'), "playbooks.mend.when (line 8)", "begins with none of"),
    (playbook('{do = "probe"}', advice='"look at {fact.x}"'), "playbooks.mend.advice (line 8)", "begins with none of"),
    (playbook('{do = "probe"}', on='"slo.burning"'), "mend.on (line 6)", "starts nothing: playbooks start by"),
    (playbook('{do = "probe"}', onn='"x"'), "playbooks.mend.onn (line 8)", "not known"),
    (playbook('{do = "probe"}', **{"finally": '[{do = "nix"}]'}), "mend.finally[0].do (line 8)", "is none of"),
    (playbook(""), "playbooks.mend.steps (line 7)", "must not be empty"),
    ("[recovery]\nrestarts_per_service = -1\n" + tcp("shop"), "recovery.restarts_per_service (line 2)", "at least 0"),
    ("[recovery]\ndryrun = true\n" + tcp("shop"), "recovery.dryrun (line 2)", 'did you mean "dry_run"'),
    ("playbooks = 3\n" + tcp("shop"), "playbooks (line 1)", "must be a table"),
    (
        playbook('{do = "restart_container"}') + tcp("qdrant", container='"qdrant"'),
        "services.qdrant.container (line 12)",
        "none that recovery.containers allows",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_place(text: str, place: str, said: str) -> None:
    found = problems(text)
    assert any(place in problem and said in problem for problem in found), found


def test_a_container_that_no_playbook_may_touch_needs_no_leave() -> None:
    parsed(playbook('{do = "restart_container"}') + tcp("qdrant", container='"qdrant"', recovery="false"))
    parsed(tcp("qdrant", container='"qdrant"'))


def test_allowed_containers_are_patterns_with_their_case() -> None:
    found = parsed('[recovery]\ncontainers = ["claw-*", "db"]\n' + tcp("shop"))
    assert [is_allowed(found, name) for name in ("claw-qdrant", "db", "Claw-x", "xclaw-y", "db2")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_secret_in_a_step_is_shown_as_it_was_written() -> None:
    found = parsed(playbook('{do = "call_webhook", url = "${HOOK}"}'))
    (shown,) = reading.playbooks(found)
    assert shown["steps"][0]["url"] == "${HOOK}"
    assert "T0SECRET" not in str(shown)
    assert "T0SECRET" not in repr(found.playbooks)


def test_the_shipped_playbooks_are_in_order() -> None:
    found = catalog.load(resource("deploy/smm-admin.toml"), CHECKS)
    assert set(found.playbooks) == {
        "service-restart",
        "cache-eviction",
        "database-pressure",
        "queue-backlog",
    }
    assert found.recovery == type(found.recovery)(), "the figures written in the file are the defaults"

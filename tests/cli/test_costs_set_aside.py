"""`smm-admin costs set-aside`, and `costs recompute`."""

from __future__ import annotations

from collections.abc import Callable

from app.costs import asides
from app.infra import ids, redis
from app.infra.db import unit_of_work
from app.limits import keys
from tests.cli.conftest import Ran
from tests.costs.sent import body


def test_calls_are_listed_shown_replayed_and_dropped(smm: Callable[..., Ran]) -> None:
    redis.client().set(keys.EPOCH, "whole:1")
    made = [asides.SetAside(ids.uuid7(), "refused", "why", "", "drain", body(user=name)) for name in ("a", "b", "c")]
    with unit_of_work() as uow:
        asides.insert(uow, made)
    kept = [str(one.id) for one in made]

    def costs(*words: str) -> str:
        ran = smm("costs", *words)
        assert (ran.code, ran.err) == (0, "")
        return ran.out

    assert [line.split()[0] for line in costs("set-aside", "list").splitlines()[1:]] == kept[::-1]
    assert '"user": "a"' in costs("set-aside", "show", kept[0])
    assert f"{kept[1]} is replayed" in costs("set-aside", "replay", *kept[:2])
    assert costs("set-aside", "drop", kept[2], "--reason", "a test") == f"{kept[2]} is dropped\n"
    assert costs("set-aside", "list") == "no call is set aside\n"
    assert "nothing differs" in costs("recompute", str(ids.time_of(made[0].id).date()))

"""What is long over is forgotten, what is open is kept however old it is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import clock
from app.alerts import retention
from app.config import settings
from tests.alerts.pipe import Pipe, pipe

__all__ = ["pipe"]  # the fixture


def count(pipe: Pipe, table: str) -> int:
    return int(pipe.sql(f"SELECT count(*) FROM {table}")[0][0])


def test_what_ended_long_ago_goes_with_all_that_was_told_of_it(pipe: Pipe) -> None:
    over, open_ = pipe.fire("Over"), pipe.fire("Open")
    pipe.run()
    pipe.end(over)
    pipe.run()
    pipe.sql("UPDATE notifications SET state = 'delivered', finished_at = now()")
    assert retention.drop_old(clock.now())["alert_episodes"] == 0
    pipe.age(timedelta(days=91))
    recent = pipe.fire("Recent")
    pipe.run()
    dropped = retention.drop_old(clock.now())
    assert (dropped["alert_groups"], dropped["alert_episodes"]) == (1, 1)
    assert {row.id for row in pipe.sql("SELECT id FROM alert_episodes")} == {open_, recent}
    assert {row.episode_id for row in pipe.sql("SELECT episode_id FROM alert_group_members")} == {open_, recent}
    assert count(pipe, "alert_groups") == 2
    assert sorted(why for why, _ in pipe.told()) == ["first", "first", "repeated"]
    pipe.end(open_)
    pipe.run()
    assert pipe.told()[-1] == ("resolved", "ops"), "whoever was told of the beginning is told of the end"


def test_a_used_link_is_remembered_for_as_long_as_it_is_good(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMM_ALERT_DAYS", "1")
    settings.cache_clear()
    pipe.sql("INSERT INTO alert_links_used (token_id, used_at) VALUES ('old', now() - interval '8 days')")
    pipe.sql("INSERT INTO alert_links_used (token_id, used_at) VALUES ('new', now() - interval '6 days')")
    retention.drop_old(clock.now())
    assert [row.token_id for row in pipe.sql("SELECT token_id FROM alert_links_used")] == ["new"]

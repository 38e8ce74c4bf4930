"""What callers report back: counters rise, blocks last, money is settled, and nothing of a header stays behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.admission import operations, outcomes
from app.admission.outcomes import Done, Outcome
from app.admission.platform import Trouble
from app.errors import Invalid, Transient
from app.infra import redis
from app.infra.plain import plain
from app.limits import deciding, keys
from app.limits.core import Counting, Decision, Reading, Verdict
from app.limits.spending import Who
from tests.admission.conftest import SERVICES, Scene
from tests.admission.test_mirror import use_redis
from tests.health import local

CATALOG = (
    SERVICES
    + """
[limits.house]
platform = "instagram"
capacity = 1000
window = "calendar"
period = "month"

[limits.calls]
platform = "instagram"
capacity = 200
window = "rolling"
period = "hour"
reported_by = ["app_usage", "business_usage"]

[limits.posts]
platform = "instagram"
capacity = 50
window = "rolling"
period = "day"
reported_by = ["publishing_limit"]

[limits.messages]
platform = "instagram"
capacity = 100
window = "rolling"
period = "hour"

[limits.spend]
currency = "usd"
per = "tenant"
capacity = 5
window = "calendar"
period = "month"

[operations.call]
platform = "instagram"
class = "interactive"
consumes = {house = 1, calls = 1}

[operations.post]
platform = "instagram"
class = "interactive"
consumes = {house = 2, calls = 2, posts = 1}

[operations.message]
platform = "instagram"
consumes = {house = 1, messages = 1}

[operations.draft]
platform = "instagram"
consumes = {calls = 1, spend = "estimate"}

[operations.elsewhere]
platform = "tiktok"
consumes = {house = 1}

[operations.nothing]
platform = "instagram"
"""
)
BUSINESS = "X-Business-Use-Case-Usage"


@pytest.fixture(autouse=True)
def counting(scene: Scene) -> None:
    """The operations, and counters that are whole."""
    scene.catalogue(CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")


def body(operation: str = "call", **more: Any) -> dict[str, Any]:
    return {"operation": operation, "account": "anna", "tenant": "acme", **more}


def report(operation: str = "call", *, jitter: Callable[[], float] = lambda: 0.0, **more: Any) -> Done:
    (done,) = outcomes.report([outcomes.parse(body(operation, **more))], jitter=jitter)
    return done


def usage(percent: float, **more: Any) -> dict[str, str]:
    return {BUSINESS: json.dumps({"17841": [{"type": "instagram", "call_count": percent, **more}]})}


def ask(operation: str = "call", *, id_: str = "x", peek: bool = False, estimate: int = 0) -> Decision:
    counting = Counting.PEEK if peek else Counting.NOW
    known = operations.known(operation)
    return deciding.decide(
        operations.ask(known, account="anna", who=Who("acme"), request_id=id_, counting=counting, estimate=estimate)
    )


def reading(limit: str, operation: str = "call") -> Reading:
    """The limit as the operation finds it; peeking tells all figures only when it would have to wait."""
    decision = ask(operation, peek=True)
    return next(one for one in decision.readings if one.limit.name == limit)


def used(limit: str, operation: str = "call") -> int:
    return reading(limit, operation).used


def test_the_platforms_share_raises_the_counter_to_it(scene: Scene) -> None:
    ask()
    done = report(headers={"x-app-usage": '{"call_count": 28, "total_time": 30.2}'})
    assert (done.corrected, done.notes, done.blocked) == (("calls",), (), ())
    assert (used("calls"), used("house")) == (61, 1)


def test_the_counter_is_never_lowered(scene: Scene) -> None:
    report(headers=usage(50))
    assert report(headers=usage(10)).corrected == ()
    assert used("calls") == 100


def test_the_larger_of_two_headers_counts(scene: Scene) -> None:
    report(headers={"x-app-usage": '{"call_count": 10}', **usage(20)})
    assert used("calls") == 40


@pytest.mark.parametrize(("percent", "calls"), [(0.1, 1), (0.5, 1), (0.51, 2), (100, 200), (29, 58)])
def test_a_share_is_rounded_up(scene: Scene, percent: float, calls: int) -> None:
    report(headers=usage(percent))
    assert used("calls") == calls


def test_a_share_of_everything_lets_nobody_go_on(scene: Scene) -> None:
    for percent in (100, 150, 1e9):
        done = report(headers=usage(percent))
        assert bool(done.notes) is (percent > 1000)
    decision = ask()
    assert decision.verdict is Verdict.WAIT
    assert decision.holds == ()


def test_only_limits_that_name_the_figure_follow_it(scene: Scene) -> None:
    assert report("message", headers=usage(90)).corrected == ()
    assert report("post", headers=usage(90)).corrected == ("calls",)
    assert used("posts", "post") == 0


def test_the_limit_of_posts_is_told_in_posts_and_with_its_total(scene: Scene) -> None:
    told = {"quota_usage": 7, "config": {"quota_total": 25, "quota_duration": 86400}}
    assert report("post", publishing_limit=told).corrected == ("posts",)
    assert used("posts", "post") == 7
    report("post", publishing_limit={"quota_usage": 25, "config": {"quota_total": 25}})
    found = reading("posts", "post")
    assert (found.used, found.capacity) == (25, 25)
    assert ask("post").verdict is Verdict.WAIT


def test_figures_of_one_account_are_those_of_no_other(scene: Scene) -> None:
    report(headers=usage(100))
    known = operations.known("call")
    other = operations.ask(known, account="bob", who=Who("acme"), request_id="x")
    assert deciding.decide(other).verdict is Verdict.ALLOW


@pytest.mark.parametrize("code", [4, 17, 32, 613, 80002])
def test_a_rate_limit_stops_calls_for_a_part_of_the_window_where_no_time_is_given(scene: Scene, code: int) -> None:
    done = report(status=400, error={"code": code, "message": "limit reached"})
    assert done.error is Trouble.RATE_LIMITED
    (block,) = done.blocked
    assert (block.subject, block.limits) == ("account:instagram/anna", ("calls",))
    assert timedelta(minutes=4, seconds=50) < block.until - clock.now() <= timedelta(minutes=5)
    decision = ask()
    assert decision.verdict is Verdict.WAIT
    assert decision.room_at is not None
    assert abs(decision.room_at - block.until) < timedelta(milliseconds=2)
    assert ask("message").verdict is Verdict.ALLOW, "it needs another limit"


def test_calls_wait_as_long_as_the_platform_says_and_a_little_longer(scene: Scene) -> None:
    headers = usage(100, estimated_time_to_regain_access=20)
    at = clock.now()
    known = outcomes.parse(body(headers=headers))
    for late, minutes in ((0.0, 20), (0.5, 21), (1.0, 22), (7.0, 22), (-1.0, 20)):
        (done,) = outcomes.report([known], now=at, jitter=lambda late=late: late)  # type: ignore[misc]
        assert [block.until - at for block in done.blocked] == [timedelta(minutes=minutes)]
    assert done.error is None
    decision = ask()
    assert decision.room_at is not None
    assert decision.room_at - at > timedelta(minutes=21, seconds=59), "a longer block stays"


def test_a_429_says_when_to_come_back(scene: Scene) -> None:
    (block,) = report(status=429, headers={"Retry-After": "90"}).blocked
    assert timedelta(seconds=85) < block.until - clock.now() <= timedelta(seconds=90)


def test_too_many_posts_stop_posts_and_no_other_call(scene: Scene) -> None:
    (block,) = report("post", status=400, error={"code": 9, "error_subcode": 2207042}).blocked
    assert block.limits == ("posts",)
    assert timedelta(minutes=119) < block.until - clock.now() <= timedelta(hours=2)
    assert (ask("post").verdict, ask("call").verdict) == (Verdict.WAIT, Verdict.ALLOW)


def test_where_no_limit_names_a_figure_the_platforms_own_limits_stop(scene: Scene) -> None:
    done = report("message", status=429, headers={"retry-after": "60"})
    assert [(block.subject, block.limits) for block in done.blocked] == [("account:instagram/anna", ("messages",))]
    assert (ask("message").verdict, ask("call").verdict) == (Verdict.WAIT, Verdict.ALLOW)


def test_a_limit_has_a_part_of_its_own_window(scene: Scene) -> None:
    done = report("post", status=429)
    spans = {name: block.until - clock.now() for block in done.blocked for name in block.limits}
    assert timedelta(hours=2) >= spans["posts"] > timedelta(minutes=5) >= spans["calls"]


def test_a_platform_without_a_file_of_its_own_is_heard_too(scene: Scene) -> None:
    assert len(report("elsewhere", status=429, headers={"retry-after": "60"}).blocked) == 1
    assert report("elsewhere", status=400, error={"code": 4}).blocked == ()


def test_an_operation_without_limits_has_nothing_to_stop(scene: Scene) -> None:
    done = report("nothing", status=429, headers=usage(100))
    assert (done.error, done.blocked, done.corrected) == (Trouble.RATE_LIMITED, (), ())


def test_a_block_is_in_postgres_at_once(scene: Scene) -> None:
    report(status=429)
    rows = scene.ledger.sql("SELECT subject, state FROM limit_states")
    assert [row.subject for row in rows] == ["account:instagram/anna"]
    assert json.loads(rows[0].state)["l"]["calls"]["x"] > 0


def test_a_rate_limited_call_stays_counted_and_one_that_was_not_made_is_given_back(scene: Scene) -> None:
    ask(id_="one")
    assert report(id="one", status=400, error={"code": 4}).refunded is None
    assert used("calls") == 1
    assert report(id="one", refund=True).refunded is True
    assert (used("calls"), used("house")) == (0, 0)
    assert report(id="one", refund=True).refunded is False, "twice is once"
    assert report(id="never", refund=True).refunded is False


def test_money_becomes_what_was_spent(scene: Scene) -> None:
    ask("draft", id_="one", estimate=2_000_000)
    assert used("spend", "draft") == 2_000_000
    assert report("draft", id="one", cost=0.123456).settled is True
    assert used("spend", "draft") == 123_456
    assert report("draft", id="one", cost=3).settled is False, "twice is once"
    assert used("spend", "draft") == 123_456
    assert used("calls", "draft") == 1


def test_money_that_nobody_asked_for_was_spent_all_the_same(scene: Scene) -> None:
    report("draft", id="unknown", cost=0.5)
    assert used("spend", "draft") == 500_000


def test_a_cost_of_an_operation_that_spends_nothing_is_counted_nowhere_and_said(scene: Scene) -> None:
    done = report(id="one", cost=1)
    assert (done.settled, done.notes) == (None, ("cost is counted nowhere: call spends no money",))


def test_what_could_not_be_read_is_said_without_its_contents(scene: Scene) -> None:
    done = report(headers={"X-App-Usage": "s3cret", BUSINESS: "[]"}, publishing_limit={"quota_usage": "s3cret"})
    assert len(done.notes) == 3
    assert "s3cret" not in json.dumps(plain(done))
    assert done.corrected == ()


def test_nothing_of_the_headers_is_kept(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    secret = {"Authorization": "Bearer s3cret", "X-App-Usage": '{"call_count": 1, "token": "s3cret"}'}
    parsed = outcomes.parse(body(headers=secret, status=500, error={"code": 7777, "message": "access_token=s3cret"}))
    assert "s3cret" not in repr(parsed)
    outcomes.report([parsed])
    everything = [str(row) for row in scene.ledger.sql("SELECT * FROM signals")]
    everything += [str(redis.client().dump(key)) for key in redis.client().scan_iter("*")]
    printed = capsys.readouterr()
    assert "s3cret" not in "".join([*everything, printed.out, printed.err])


def test_people_are_told_of_a_block_once(scene: Scene) -> None:
    for _ in range(3):
        report(status=400, error={"code": 4, "message": "Application request limit reached"})
    (told,) = scene.signals("admission.rate_limited")
    assert (told.subject, told.labels) == ("account:instagram/anna", {"platform": "instagram", "code": "4"})
    assert (told.facts["operation"], told.facts["limits"], told.facts["code"]) == ("call", ["calls"], 4)


def test_people_are_told_of_an_unknown_error_once_for_each_account_and_code(scene: Scene) -> None:
    for code in (7777, 7777, 8888):
        assert report(status=400, error={"code": code, "subcode": 3, "message": "what?"}).error is Trouble.UNKNOWN
    outcomes.report([outcomes.parse({**body(error={"code": 7777}), "account": "bob"})])
    told = scene.signals("admission.platform_error")
    assert [(row.subject[-4:], row.facts["code"]) for row in told] == [("anna", 7777), ("anna", 8888), ("/bob", 7777)]
    assert (told[0].facts["message"], told[0].facts["subcode"], told[0].facts["status"]) == ("what?", 3, 400)


def test_a_token_that_is_refused_is_told_to_who_keeps_it_without_the_platforms_words(scene: Scene) -> None:
    for _ in range(3):
        refused = report(status=400, error={"code": 190, "subcode": 460, "message": "token IGAAs3cret"})
        assert refused.error is Trouble.TOKEN
    assert report("elsewhere", status=401).error is Trouble.TOKEN
    told, elsewhere = scene.signals("admission.token_refused")
    assert (told.subject, told.labels) == ("account:instagram/anna", {"platform": "instagram", "code": "190"})
    assert (told.facts["subcode"], told.facts["message"]) == (460, "")
    assert (elsewhere.subject, elsewhere.facts["status"]) == ("account:tiktok/anna", 401)


def test_errors_that_are_known_are_told_to_the_caller_only(scene: Scene) -> None:
    assert report(status=500, error={"code": 2}).error is Trouble.PASSING
    assert report(status=400, error={"code": 100}).error is Trouble.REQUEST
    assert scene.signals("admission.%") == []


def test_many_are_done_in_their_order(scene: Scene) -> None:
    parsed = [outcomes.parse(body(headers=usage(percent))) for percent in (10, 30, 20)]
    assert [done.corrected for done in outcomes.report(parsed)] == [("calls",), ("calls",), ()]
    assert outcomes.report([]) == []


def test_an_answer_is_json(scene: Scene) -> None:
    document = plain(report(status=429, id="one"))
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {
        "id", "operation", "account", "corrected", "blocked", "error", "settled", "refunded", "notes",
    }  # fmt: skip
    assert set(document["blocked"][0]) == {"subject", "limits", "until"}


def test_while_redis_is_away_the_caller_is_asked_to_come_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = outcomes.parse(body(headers=usage(10)))
    use_redis(monkeypatch, f"redis://127.0.0.1:{local.closed_port()}/0")
    with pytest.raises(Transient):
        outcomes.report([parsed])


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"operation": "cal"}, "operation"),
        ({"operation": ""}, "operation"),
        ({"operation": 3}, "operation"),
        ({"account": ""}, "account"),
        ({"account": "a\nb"}, "account"),
        ({"account": "x" * 201}, "account"),
        ({"account": "\ud800"}, "account"),
        ({"tenant": ""}, "tenant"),
        ({"id": ""}, "id"),
        ({"id": "a\x00"}, "id"),
        ({"status": 99}, "status"),
        ({"status": True}, "status"),
        ({"status": 10**40}, "status"),
        ({"headers": []}, "headers"),
        ({"headers": {"x-app-usage": 3}}, "headers.x-app-usage"),
        ({"headers": {str(number): "" for number in range(201)}}, "headers"),
        ({"error": {}}, "error.code"),
        ({"error": {"code": "x"}}, "error.code"),
        ({"error": {"code": 10**12}}, "error.code"),
        ({"error": "4"}, "error"),
        ({"publishing_limit": [1]}, "publishing_limit"),
        ({"cost": -1, "id": "x"}, "cost"),
        ({"cost": float("inf"), "id": "x"}, "cost"),
        ({"cost": 1e30, "id": "x"}, "cost"),
        ({"cost": True, "id": "x"}, "cost"),
        ({"cost": 1}, "id"),
        ({"refund": True}, "id"),
        ({"refund": 1, "id": "x"}, "refund"),
        ({"refund": True, "cost": 1, "id": "x"}, "refund"),
        ({"other": 1}, "other"),
    ],
)
def test_what_is_wrong_is_named(scene: Scene, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        outcomes.parse({**body(), **wrong})
    assert [problem.field.partition(".[key]")[0] for problem in refused.value.problems] == [field]


def test_a_tenant_is_asked_for_where_its_counter_is_needed(scene: Scene) -> None:
    given = body("draft", id="x", cost=1)
    del given["tenant"]
    with pytest.raises(Invalid, match="counted by tenant"):
        outcomes.parse(given)
    assert isinstance(outcomes.parse({"operation": "call", "account": "anna"}), Outcome)
    for nonsense in (None, [], "x", 3):
        with pytest.raises(Invalid):
            outcomes.parse(nonsense)


def test_an_error_may_be_sent_as_the_platform_wrote_it(scene: Scene) -> None:
    error = {"message": "m" * 5000, "type": "OAuthException", "code": 4, "error_subcode": 1, "fbtrace_id": "x"}
    parsed = outcomes.parse(body(error=error))
    assert parsed.sent.error is not None
    assert (parsed.sent.error.code, parsed.sent.error.subcode, len(parsed.sent.error.message)) == (4, 1, 300)

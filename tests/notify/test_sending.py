"""One try: never an exception, always counted, and a wait that was asked for holds for everybody."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from app.errors import Conflict, Misconfigured, NotFound, Permanent, Transient
from app.infra.metrics.instruments import deltas
from app.infra.wire import Refused
from app.notify import ChannelSpec, Delivery, Outcome, kinds, outcome_word, send, take
from app.notify.channel import ChannelModule
from tests.notify.messages import delivery
from tests.notify.servers import ChannelServer, Scripted, http_options, spec_of


@pytest.fixture(autouse=True)
def _fresh_counts() -> Iterator[None]:
    deltas().restart()
    yield
    deltas().restart()


def counted() -> dict[tuple[str, ...], float]:
    """Attempts by channel and outcome."""
    batch = deltas().take()
    amounts = {} if batch is None else batch.amounts
    return {values: amount for (name, values, _), amount in amounts.items() if name.endswith("attempts_total")}


def that(act: Callable[[Delivery, Any], Outcome]) -> ChannelSpec:
    """A channel whose `send` is `act`."""
    slack = kinds()["slack"]
    parts = {name: getattr(slack, name) for name in dir(slack) if not name.startswith("__")}
    module = cast(ChannelModule, types.SimpleNamespace(**parts | {"send": act}))
    return replace(spec_of("slack", http_options("slack", "https://x.test")), module=module)


def raising(error: Exception) -> ChannelSpec:
    def act(_delivery: Delivery, _options: Any) -> Outcome:
        raise error

    return that(act)


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (Transient("busy"), False),
        (Permanent("busy"), True),
        (Refused("busy"), True),
        (Misconfigured("busy"), True),
        (NotFound("busy"), True),
        (Conflict("busy"), True),
    ],
)
def test_what_a_channel_raises_says_whether_another_try_can_help(error: Exception, permanent: bool) -> None:
    outcome = send(raising(error), delivery())
    assert (outcome.delivered, outcome.permanent, outcome.error) == (False, permanent, "busy")
    assert outcome.latency_ms is not None


def test_a_channel_that_is_wrong_is_worth_another_try_and_its_words_are_kept_to_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcome = send(raising(RuntimeError("T0SECRET/B0SECRET")), delivery())
    assert (outcome.delivered, outcome.permanent) == (False, False)
    assert outcome.error == "the channel failed: RuntimeError"
    assert "a channel raised" in caplog.text
    assert "T0SECRET" not in caplog.text


def test_what_a_channel_raises_is_cleaned_of_its_secrets() -> None:
    words = "https://x.test/services/T0SECRET/B0SECRET/s3cretPartOfTheAddress failed:\nT0SECRET password=hunter2hunter2"
    outcome = send(raising(Transient(words)), delivery())
    assert outcome.error == "*** failed: *** password=***"


def test_the_wait_that_a_channel_raises_is_kept() -> None:
    outcome = send(raising(Transient("busy", retry_after=timedelta(seconds=9))), delivery())
    assert outcome.retry_after == timedelta(seconds=9)


def test_the_channels_own_timeout_and_networks_are_used() -> None:
    seen: list[Delivery] = []

    def act(given: Delivery, _options: Any) -> Outcome:
        seen.append(given)
        return Outcome(delivered=True)

    send(that(act), delivery(timeout_seconds=99.0, allow=("0.0.0.0/0",)))
    assert (seen[0].timeout_seconds, seen[0].allow) == (3, ("127.0.0.0/8",))


def test_every_try_is_counted_by_channel_and_outcome(server: ChannelServer) -> None:
    server.will(Scripted(200), Scripted(429), Scripted(500), Scripted(404))
    spec = server.spec("webhook", name="hook")
    words = [outcome_word(send(spec, delivery())) for _ in range(4)]
    assert words == ["delivered", "rate_limited", "transient", "permanent"]
    assert counted() == {("hook", word): 1 for word in words}


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_one_is_asked_for_holds_for_everybody(
    status: int, server: ChannelServer, redis_server: str
) -> None:
    spec = server.spec("slack")
    assert take(spec.destination(), spec.rate.per_second, spec.rate.burst) == 0
    server.will(Scripted(status, headers={"Retry-After": "30"}))
    send(spec, delivery())
    assert 20 < take(spec.destination(), spec.rate.per_second, spec.rate.burst) <= 30
    other = server.spec("discord")
    assert take(other.destination(), other.rate.per_second, other.rate.burst) == 0


def test_redis_away_changes_nothing_about_a_delivery(server: ChannelServer) -> None:
    server.will(Scripted(429, headers={"Retry-After": "30"}))
    spec = server.spec("slack")
    assert send(spec, delivery()).rate_limited
    assert send(spec, delivery()).delivered
    assert 20 < take(spec.destination(), spec.rate.per_second, spec.rate.burst) <= 30

"""What every plug-in owes: one contract, checked over the registry, so that a new file cannot forget a part of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from app import clock
from app.admission.platform import RETRY_AFTER, PlatformError, Reading, Sent, Trouble
from app.admission.platforms import platforms
from app.catalog import NAME, App, Docker
from app.costs.bill_source import Billed, Source
from app.costs.billing import billings
from app.costs.usage import shapes
from app.errors import Invalid, SmmError
from app.health.probes import kinds
from app.health.probing import Outcome, Target
from app.infra import queue
from app.infra.redis import connect
from app.tokens.providers import platforms as token_platforms
from tests.costs.billed import KEY, provider
from tests.fixtures.answering import HANG, Reply, answering
from tests.fixtures.certificates import Authority
from tests.health import local, naming

TIMEOUT_SECONDS = 0.5


@dataclass(frozen=True)
class Case:
    """Options and target of one run: what should succeed, what should fail, what should hang where a kind can hang."""

    target: Target
    options: dict[str, object]


def _target(**more: object) -> Target:
    return Target(name="it", timeout_seconds=TIMEOUT_SECONDS, home=Path("/"), **more)


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f":{parts.password}@127.0.0.1:{port}").geturl()


@pytest.fixture
def cases(database: str, redis_server: str, tmp_path: Path) -> Iterator[dict[str, dict[str, Case]]]:
    """Per kind: a real thing that is well, one that is not, and one that never answers."""
    before = queue.names()
    queue.configure(["default"])
    entry = json.dumps({"at": time.time(), "queues": ["default"]})
    closed = local.closed_port()
    with ExitStack() as stack, local.web() as web, local.silent_port() as silent, local.web() as other:
        connect(redis_server).hset("smm:workers", "default@here", entry)
        address = "127.0.0.1"
        yield {
            "celery": {
                "good": Case(_target(redis_url=redis_server), {"part": "workers"}),
                "bad": Case(_target(database_url=database), {"part": "beat"}),
                "hanging": Case(_target(redis_url=_at_port(redis_server, silent)), {"part": "workers"}),
            },
            **_others(stack, tmp_path, closed, silent),
            "disk": {
                "good": Case(_target(), {"path": str(tmp_path)}),
                "bad": Case(_target(), {"path": str(tmp_path / "missing")}),
            },
            "heartbeat": {
                "good": Case(_target(last_heartbeat_at=clock.now()), {}),
                "bad": Case(_target(last_heartbeat_at=clock.now()), {"period_seconds": 1e-9}),
            },
            "http": {
                "good": Case(_target(), {"url": web.url + "/ok"}),
                "bad": Case(_target(), {"url": other.url + "/error"}),
                "hanging": Case(_target(), {"url": web.url + "/drip"}),
            },
            "memory": {"good": Case(_target(), {})},
            "postgres": {
                "good": Case(_target(database_url=database), {}),
                "bad": Case(_target(), {"url": _at_port(database, closed)}),
                "hanging": Case(_target(), {"url": _at_port(database, silent)}),
            },
            "redis": {
                "good": Case(_target(redis_url=redis_server), {}),
                "bad": Case(_target(), {"url": _at_port(redis_server, closed)}),
                "hanging": Case(_target(), {"url": _at_port(redis_server, silent)}),
            },
            "tcp": {
                "good": Case(_target(), {"host": address, "port": silent}),
                "bad": Case(_target(), {"host": address, "port": closed}),
                "hanging": Case(_target(), {"host": address, "port": silent, "expect": "a word"}),
            },
        }
    queue.configure(before)


def _others(stack: ExitStack, tmp_path: Path, closed: int, silent: int) -> dict[str, dict[str, Case]]:
    """The kinds that need servers of their own."""
    state = Reply(body={"State": {"Status": "running", "Running": True}})
    answers = {"GET /containers/web/json": state, "GET /healthz": Reply(), "GET /readyz": Reply(), "GET /me": Reply()}
    well = stack.enter_context(answering(answers))
    ill = stack.enter_context(answering({"GET /me": Reply(401)}))
    stuck = stack.enter_context(answering(dict.fromkeys(answers, HANG)))
    names = {("a.example.", "A"): ["192.0.2.1"], ("slow.example.", "A"): naming.SILENT}
    server = stack.enter_context(naming.name_server(names))
    authority = Authority(tmp_path)
    secure = stack.enter_context(local.web(authority.sign("127.0.0.1").both))

    def http(**options: object) -> dict[str, Case]:
        path = options.pop("path", "")
        servers = {"good": well, "bad": ill, "hanging": stuck}
        return {mood: Case(_target(), {"url": f"{found.url}{path}", **options}) for mood, found in servers.items()}

    def engine(port: int, **more: object) -> Case:
        where = Docker(host=f"tcp://127.0.0.1:{port}")
        return Case(_target(docker=where, container="web", **more), {})

    trusting = {"host": "127.0.0.1", "ca_file": str(authority.file)}
    return {
        "dns": {
            "good": Case(_target(), {"name": "a.example", "server": server}),
            "bad": Case(_target(), {"name": "b.example", "server": server}),
            "hanging": Case(_target(), {"name": "slow.example", "server": server}),
        },
        "docker": {
            "good": engine(well.port),
            "bad": engine(closed, told_code="engine"),
            "hanging": engine(stuck.port),
        },
        "n8n": http(),
        "platform": http(path="/me", token="t0ken"),
        "qdrant": http(),
        "tls": {
            "good": Case(_target(), {**trusting, "port": secure.port}),
            "bad": Case(_target(), {**trusting, "port": closed}),
            "hanging": Case(_target(), {**trusting, "port": silent}),
        },
    }


@pytest.mark.parametrize("kind", kinds())
def test_a_probe_is_described(kind: str):
    module = kinds()[kind]
    assert module.SUMMARY
    assert module.SUMMARY[0].islower()
    assert module.DEFAULTS.interval_seconds > 0
    assert 0 < module.DEFAULTS.timeout_seconds <= 10
    assert module.DEFAULTS.watched_by in ("engine", "watchdog")
    assert set(module.THRESHOLDS) <= set(module.READINGS)
    assert set(module.THRESHOLDS) <= set(module.ADVICE) | {"latency_ms"}
    assert all(text.endswith(".") for text in module.ADVICE.values())


@pytest.mark.parametrize("kind", kinds())
def test_every_option_of_a_probe_is_described_and_none_is_accepted_by_accident(kind: str):
    options = kinds()[kind].Options
    assert options.__doc__
    assert {name for name, field in options.model_fields.items() if not field.description} == set()
    with pytest.raises(ValidationError) as refused:
        options.model_validate({"no_such_option": "s3cret"})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("kind", kinds())
def test_a_probe_of_a_thing_that_is_well_says_so(kind: str, cases: dict[str, dict[str, Case]]):
    assert kind in cases, "a new kind needs its cases here"
    outcome = _run(kind, cases[kind]["good"])
    assert outcome.error is None
    assert outcome.readings or outcome.latency_ms is not None
    declared = set(kinds()[kind].READINGS)
    numbers = {name for name, value in outcome.readings.items() if type(value) in (int, float)}
    assert numbers <= declared
    json.dumps(dict(outcome.readings), allow_nan=False)


@pytest.mark.parametrize("kind", sorted(set(kinds()) - {"memory"}))
def test_a_probe_of_a_thing_that_is_not_well_fails_with_a_code_and_a_text(kind: str, cases: dict[str, dict[str, Case]]):
    outcome = _run(kind, cases[kind]["bad"])
    assert outcome.error.code.isidentifier()
    assert outcome.error.text


@pytest.mark.parametrize("kind", sorted(set(kinds()) - {"disk", "heartbeat", "memory"}))
def test_a_probe_of_a_thing_that_hangs_ends_at_its_timeout(kind: str, cases: dict[str, dict[str, Case]]):
    case = cases[kind]["hanging"]
    started = time.monotonic()
    verdict = kinds()[kind].probe(case.target, kinds()[kind].Options.model_validate(case.options))
    assert time.monotonic() - started < TIMEOUT_SECONDS + 0.5
    assert not isinstance(verdict, Outcome) or verdict.error.code == "timeout"


@pytest.mark.parametrize("name", platforms())
def test_a_platform_is_described(name: str):
    module = platforms()[name]
    assert re.fullmatch(NAME, module.PLATFORM)
    assert module.__name__.rpartition(".")[2] == name.replace("-", "_"), "the file is named as the platform"
    assert module.SUMMARY
    assert module.__doc__
    assert "https://" in module.__doc__, "where the platform describes it"
    assert RETRY_AFTER in module.HEADERS
    assert all(header == header.lower() for header in module.HEADERS)


@pytest.mark.parametrize("name", platforms())
def test_an_answer_of_a_platform_that_says_nothing_is_read_as_nothing(name: str):
    assert platforms()[name].read(Sent(status=200), clock.now()) == Reading()


@pytest.mark.parametrize("name", platforms())
def test_a_429_of_any_platform_is_a_rate_limit(name: str):
    found = platforms()[name].read(Sent(status=429, headers={RETRY_AFTER: "7"}), clock.now())
    assert found.trouble is Trouble.RATE_LIMITED
    assert found.limited is not None
    assert found.limited.wait is not None
    assert found.limited.wait.total_seconds() == 7


@pytest.mark.parametrize("name", platforms())
@pytest.mark.parametrize("text", ["", "null", "[1]", "{", '{"a": {"b": [null]}}', "s3cret", "[" * 5000, "\ud800"])
def test_nonsense_from_a_platform_is_borne_and_not_repeated(name: str, text: str):
    module = platforms()[name]
    sent = Sent(
        status=599,
        headers=dict.fromkeys(module.HEADERS, text),
        error=PlatformError(-1, 10**12, text),
        publishing_limit={"quota_usage": text, "config": text},
    )
    found = module.read(sent, clock.now())
    assert found.limited is None
    assert found.trouble is Trouble.UNKNOWN
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize("name", shapes())
def test_a_shape_of_usage_is_described_and_bears_nonsense(name: str):
    module = shapes()[name]
    assert module.__name__.rpartition(".")[2] == module.SHAPE == name, "the file is named as the shape"
    assert module.SUMMARY
    assert "https://" in module.__doc__, "where the provider describes it"
    assert tuple(word.lower() for word in module.PROVIDERS) == module.PROVIDERS
    counts = [word.strip(",") for word in module.SUMMARY.split() if word.strip(",").endswith("_tokens")]
    assert not module.fits({})
    assert module.fits(dict.fromkeys(counts[:1], 1))
    for value in (None, -1, "s3cret", [1], {"x": 1}, 10**30, True, 1.5):
        with pytest.raises(Invalid) as refused:
            module.tokens(dict.fromkeys(counts, value))
        assert all(problem.field.startswith("usage.") for problem in refused.value.problems)
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("name", billings())
def test_a_way_of_billing_is_described(name: str):
    module = billings()[name]
    assert module.__name__.rpartition(".")[2] == module.BILLING == name, "the file is named as the way"
    assert module.SUMMARY
    assert "https://" in module.__doc__, "where the provider describes it"
    assert urlsplit(module.BASE_URL).scheme == "https"
    assert module.PROVIDERS
    assert tuple(word.lower() for word in module.PROVIDERS) == module.PROVIDERS


@pytest.mark.parametrize("name", billings())
@pytest.mark.parametrize("text", [b"", b"null", b"{", b"s3cret", b'{"data": [{"results": [1]}]}', b"\xff", b"[" * 5000])
def test_nonsense_about_a_bill_is_borne_and_not_repeated(name: str, text: bytes):
    module, today = billings()[name], clock.now().date()
    paths = ("/v1/organization/costs", "/v1/organizations/cost_report", "/v1/users/me/balance")
    with answering({f"GET {path}": Reply(body=text) for path in paths}) as server:
        account = provider(name, server.url)
        ask = getattr(module, "balance", lambda one: module.read(Source(one), today, today, clock.now()))
        with pytest.raises(SmmError) as refused:
            ask(account)
    assert "s3cret" not in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("name", [name for name, module in billings().items() if hasattr(module, "balance")])
def test_a_bill_without_any_reading_is_unknown(name: str):
    today = clock.now().date()
    [found] = billings()[name].read(Source(provider(name, "http://127.0.0.1:1")), today, today, clock.now())
    assert found == Billed(today, None, note=found.note)
    assert found.note


@pytest.mark.parametrize("name", token_platforms())
def test_a_platform_whose_tokens_are_kept_is_described(name: str):
    module = token_platforms()[name]
    assert module.__name__.rpartition(".")[2] == module.PLATFORM == name, "the file is named as the platform"
    assert re.fullmatch(NAME, module.PLATFORM)
    assert module.SUMMARY
    assert "https://" in module.__doc__, "where the platform describes it"
    traits = module.TRAITS
    assert traits.needs_app <= {"refresh", "login"}
    assert traits.scopes
    assert not (traits.rotates and traits.one_token)
    address = module.login_url(
        App(name=name, client_id="our-id"), redirect_uri="https://us.example/back", state="st4te", challenge="ch4llenge"
    )
    query = parse_qs(urlsplit(address).query)
    assert urlsplit(address).scheme == "https"
    assert (query["state"], query["redirect_uri"]) == (["st4te"], ["https://us.example/back"])
    assert ("code_challenge" in query) is traits.pkce


def _run(kind: str, case: Case) -> Outcome:
    module = kinds()[kind]
    verdict = module.probe(case.target, module.Options.model_validate(case.options))
    assert isinstance(verdict, Outcome)
    return verdict

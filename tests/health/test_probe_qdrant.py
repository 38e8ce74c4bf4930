"""The Qdrant probe against servers that answer as the versions of Qdrant do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.health.probes import qdrant
from app.health.probing import Outcome, Target
from tests.fixtures.answering import HANG, Answering, Asked, Reply, Route, answering

KEY = "s3cret-key"


def probe(server: Answering, *, timeout: float = 2, **options: object) -> Outcome:
    target = Target(name="qdrant", timeout_seconds=timeout, home=Path("/"))
    return qdrant.probe(target, qdrant.Options.model_validate({"url": server.url, **options}))


def collection(status: str = "green", points: int = 0, **more: object) -> Reply:
    info = {"status": status, "optimizer_status": "ok", "points_count": points, "indexed_vectors_count": points // 2}
    return Reply(body={"result": {**info, **more}, "status": "ok", "time": 0.1})


def recent(**collections: Reply) -> dict[str, Route]:
    """Qdrant of today with these collections."""
    listed = [{"name": name} for name in collections]
    routes: dict[str, Route] = {
        "GET /readyz": Reply(body=b"all shards are ready"),
        "GET /": Reply(body={"title": "qdrant - vector search engine", "version": "1.16.2"}),
        "GET /collections": Reply(body={"result": {"collections": listed}, "status": "ok"}),
    }
    return routes | {f"GET /collections/{name}": reply for name, reply in collections.items()}


def test_a_ready_server_tells_what_it_holds():
    segment = {
        "info": {"num_points": 3, "disk_usage_bytes": 0, "vectors_size_bytes": 1048576, "payloads_size_bytes": 0}
    }
    telemetry = {
        "result": {"collections": {"collections": [{"shards": [{"local": {"segments": [segment, segment]}}]}]}}
    }
    routes = recent(brand=collection(points=100), posts=collection("yellow", 50))
    with answering(routes | {"GET /telemetry": Reply(body=telemetry)}) as server:
        outcome = probe(server, api_key=KEY)
    assert (outcome.error, outcome.degraded) == (None, None)
    assert outcome.readings == {
        "version": "1.16.2",
        "collections": 2,
        "vectors": 150,
        "indexed_vectors": 75,
        "collection_status": "yellow",
        "yellow_collections": 1,
        "red_collections": 0,
        "disk_mb": 2.0,
    }
    assert 0 < outcome.latency_ms < 2000
    assert all(asked.headers["api-key"] == KEY for asked in server.seen)


def test_a_red_collection_degrades_it_by_name():
    with answering(recent(brand=collection("red"), posts=collection("grey"))) as server:
        outcome = probe(server)
    assert outcome.error is None
    assert outcome.degraded == "collection_status is red: brand"
    assert outcome.readings["collection_status"] == "red"
    assert (outcome.readings["red_collections"], outcome.readings["yellow_collections"]) == (1, 1)


def test_an_empty_server_is_well():
    with answering(recent()) as server:
        outcome = probe(server)
    assert (outcome.error, outcome.degraded) == (None, None)
    assert outcome.readings == {"version": "1.16.2", "collections": 0, "vectors": 0, "indexed_vectors": 0}


@pytest.mark.parametrize("missing", [("GET /readyz",), ("GET /readyz", "GET /healthz")])
def test_an_old_server_without_readiness_is_asked_what_it_has(missing: tuple[str, ...]):
    routes = recent(brand=Reply(body={"result": {"status": "green", "vectors_count": 7}}))
    routes["GET /healthz"] = Reply(body=b"healthz check passed")
    for path in missing:
        del routes[path]
    with answering(routes) as server:
        outcome = probe(server)
    assert outcome.error is None
    assert outcome.readings["vectors"] == 7
    assert "indexed_vectors" not in outcome.readings


def test_a_server_that_is_something_else_is_not_taken_for_qdrant():
    with answering({"GET /": Reply(body=b"<html>hello</html>")}) as server:
        outcome = probe(server)
    assert (outcome.error.code, outcome.error.text) == ("not_ready", "answered 404 to whether it is ready")


def test_a_server_that_is_not_ready_fails():
    with answering({"GET /readyz": Reply(503, b"some shards are not ready")}) as server:
        assert probe(server).error.code == "not_ready"


def test_a_refused_key_degrades_and_is_not_told():
    refused: Mapping[str, Route] = {"GET /collections": Reply(401, b"Must provide an API key")}
    with answering({**recent(), **refused}) as server:
        outcome = probe(server, api_key=KEY)
    assert outcome.error is None
    assert outcome.degraded == "the API key is refused"
    assert KEY not in repr(outcome)


def test_of_many_collections_a_bounded_number_is_asked():
    names = {f"c{number}": collection(points=1) for number in range(30)}
    metrics = Reply(body=b"# HELP collections_vector_total x\nqdrant_collections_vector_total 12345\n")
    with answering({**recent(**names), "GET /metrics": metrics}) as server:
        outcome = probe(server, max_collections=5)
    assert sum(path.startswith("GET /collections/") for path in server.paths) == 5
    assert (outcome.readings["collections"], outcome.readings["vectors"]) == (30, 12345)
    assert "indexed_vectors" not in outcome.readings


def test_a_collection_whose_name_is_a_path_is_asked_for_by_its_name():
    routes = recent() | {"GET /collections": Reply(body={"result": {"collections": [{"name": "a/../b c"}]}})}
    with answering(routes) as server:
        outcome = probe(server)
    assert outcome.error is None
    assert "GET /collections/a%2F..%2Fb%20c" in server.paths


def test_details_that_do_not_come_in_time_degrade_and_keep_what_was_read():
    routes = recent(brand=collection())
    routes["GET /collections/brand"] = HANG
    with answering(routes) as server:
        started = time.monotonic()
        outcome = probe(server, timeout=0.5)
        assert time.monotonic() - started < 1
    assert outcome.error is None
    assert outcome.degraded == "ready, but its details cannot be read: no answer within 0.5 s"
    assert outcome.readings["collections"] == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        Reply(body=[1, 2]),
        Reply(body={"result": None}),
        Reply(body={"result": {"collections": {"name": 1}}}),
        Reply(body={"result": {"collections": [None, 3, {"name": 4}]}}),
        Reply(body=b"\xff\xfe"),
        Reply(500, b"oh no"),
    ],
)
def test_answers_of_another_shape_cost_readings_and_nothing_more(nonsense: Reply):
    def any_of_them(_asked: Asked) -> Reply:
        return nonsense

    with answering({**recent(), "GET /": any_of_them, "GET /collections": any_of_them}) as server:
        outcome = probe(server)
    assert (outcome.error, outcome.degraded) == (None, None)

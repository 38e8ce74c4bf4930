"""Paging: from a fact to the message at its channel, one by one and in a storm; and how long an explanation takes."""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from app import clock, signals
from app.alerts import explain, silences
from app.alerts.inbox import pack
from app.alerts.matchers import Matcher
from app.infra.db import execute_once, read_only, unit_of_work
from tests.benchmarks.support import Figure, engine, machine, percentile, servers, show, wait_until

FACTS = 150
PAUSE_SECONDS = 0.1
STORM = 10_000
GROUPS = 100
RULES = 1_000
PROCESSES = ("beat", "worker-tick", "worker-critical")

CATALOG = """
[services.idle]
kind = "heartbeat"
period_seconds = 86400

[alerting]
hold_after_start = 0

[channels.here]
kind = "webhook"
url = "http://127.0.0.1:{port}/"
allow = ["127.0.0.0/8"]
rate_per_second = 1000
burst = 1000

[receivers.everybody]
notify = ["channel:here"]

[routing]
receiver = "everybody"
group_by = ["alertname", "service"]
group_wait = 0
group_interval = 300

[alerts.Down]
on = ["health.down"]
until = ["health.up"]
severity = "critical"
"""
INHIBITION = """
[[inhibitions]]
source = ['alertname="Cause{number}"', 'cluster=~"c.*"']
target = ['alertname=~"Storm{number}|Other.*"', 'severity!="critical"']
equal = ["cluster"]
"""


class Arrivals:
    """A channel that notes when what arrived: by service, and by name."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, str], float] = {}
        self.messages = 0
        self._lock = threading.Lock()

    def note(self, body: dict[str, Any]) -> None:
        labels = body["groupLabels"]
        with self._lock:
            self.messages += 1
            self.at.setdefault((labels.get("alertname", ""), labels.get("service", "")), time.perf_counter())


@contextlib.contextmanager
def channel() -> Iterator[tuple[int, Arrivals]]:
    arrivals = Arrivals()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrivals.note(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], arrivals
    finally:
        server.shutdown()


def run() -> None:
    """Print the figures."""
    print(machine())
    with servers() as home, channel() as (port, arrivals):
        (home / "smm-admin.toml").write_text(CATALOG.format(port=port))
        figures: list[Figure] = []
        with engine(home, PROCESSES):
            wait_until(_passed, seconds=60, what="the tick passes")
            figures += one_by_one(arrivals)
            figures += storm(arrivals)
        figures += explanations(home, port)
        show(figures)


def _passed() -> bool:
    return execute_once("SELECT passed_at IS NOT NULL AS passed FROM alert_clock")[0].passed is True


def one_by_one(arrivals: Arrivals) -> list[Figure]:
    """Critical facts, no group wait: recorded here, told there."""
    recorded = {}
    for number in range(FACTS):
        service = f"s{number}"
        with unit_of_work() as uow:
            signals.record(uow, "health.down", service, labels={"service": service})
        recorded[service] = time.perf_counter()
        time.sleep(PAUSE_SECONDS)
    wait_until(lambda: len(arrivals.at) >= FACTS, seconds=60, what="every fact was told")
    seconds = [arrivals.at["Down", service] - at for service, at in recorded.items()]
    return [
        Figure("a critical fact to its message, median", statistics.median(seconds), "s"),
        Figure("a critical fact to its message, p95", percentile(seconds, 95), "s", limit=5),
    ]


def storm(arrivals: Arrivals) -> list[Figure]:
    """10,000 alerts of 100 groups, posted at once."""
    before = arrivals.messages
    started = time.perf_counter()
    for first in range(0, STORM, 64):
        posted = [_alert(number) for number in range(first, min(first + 64, STORM))]
        execute_once(
            "INSERT INTO alert_inbox (received_at, source, alerts, body) VALUES (now(), 'api', :count, :body)",
            count=len(posted),
            body=pack(json.dumps(posted).encode()),
        )
    names = [(f"Storm{number}", "") for number in range(GROUPS)]
    wait_until(lambda: all(name in arrivals.at for name in names), seconds=120, what="every group was told")
    told = [arrivals.at[name] - started for name in names]
    wait_until(_settled, seconds=60, what="nothing waits any more")
    return [
        Figure("a storm of 10,000 alerts to the last of 100 messages", max(told), "s", limit=30),
        Figure("the same, p95 of the messages", percentile(told, 95), "s", limit=30),
        Figure("messages for 100 groups", arrivals.messages - before, "", limit=GROUPS),
        Figure("alerts stored", execute_once("SELECT count(*) AS n FROM alert_episodes WHERE name LIKE 'Storm%'")[0].n,
               "", limit=STORM, at_least=True),
    ]  # fmt: skip


def _settled() -> bool:
    left = execute_once(
        "SELECT (SELECT count(*) FROM alert_inbox) + (SELECT count(*) FROM alert_episodes WHERE NOT routed)"
        " + (SELECT count(*) FROM notifications WHERE state IN ('waiting', 'sending')) AS n"
    )
    return bool(left[0].n == 0)


def _alert(number: int) -> dict[str, Any]:
    labels = {
        "alertname": f"Storm{number % GROUPS}",
        "instance": f"host-{number}",
        "cluster": f"c{number % 10}",
        "severity": "warning",
    }
    ends = clock.iso(clock.now() + timedelta(hours=1))
    return {"labels": labels, "annotations": {"summary": f"trouble on host-{number}"}, "endsAt": ends}


def explanations(home: Path, port: int) -> list[Figure]:
    """What would happen to an alert, asked while 10,000 fire, under 1,000 silences and 1,000 inhibition rules."""
    rules = "".join(INHIBITION.format(number=number) for number in range(RULES))
    (home / "smm-admin.toml").write_text(CATALOG.format(port=port) + rules)
    now = clock.now()
    with unit_of_work() as uow:
        for number in range(RULES):
            silences.create(
                uow,
                matchers=[Matcher("alertname", f"Quiet{number}"), Matcher("instance", "host-.*", is_regex=True)],
                starts_at=now,
                ends_at=now + timedelta(hours=1),
                created_by="bench",
                comment="benchmark",
                now=now,
            )
    time.sleep(2)
    labels = {"alertname": "Storm7", "instance": "new", "cluster": "c7", "severity": "warning"}
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        with read_only() as session:
            told = explain.dry_run(session, labels, now=clock.now())
        seconds.append(time.perf_counter() - started)
    if not told["routes"]:
        raise RuntimeError("the explanation names no route")
    return [Figure("an explanation, median of 20", statistics.median(seconds) * 1000, "ms", limit=100)]

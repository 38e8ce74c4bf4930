"""Repair: twenty containers killed under the product, and one that dies again: how soon noticed, back, escalated."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app import clock
from app.config import resource
from app.infra.db import execute_once
from tests.benchmarks.support import Figure, engine, machine, percentile, servers, show, wait_until
from tests.fixtures.docker import Box, Containers, image
from tests.fixtures.stack import free_port

KILLS = 20
SPREAD_SECONDS = 90.0
"""Kills come at random moments over so long: wherever in its interval a service is."""

PROCESSES = (
    "beat",
    "worker-tick",
    "worker-critical",
    "worker-high",
    "worker-default",
    "worker-bulk",
    "watchdog",
    "web",
)
BROKEN = "broken"
DIES_AGAIN = (
    "test -e /tmp/again && exit 3; touch /tmp/again; mkdir -p /www; echo ok > /www/index.html;"
    " exec httpd -f -p 127.0.0.1:{port} -h /www"
)
SERVICE = """
[services.{name}]
kind = "http"
url = "http://127.0.0.1:{port}/"
interval = 30
timeout = 5
container = "{container}"
"""


@dataclass(slots=True)
class Victim:
    """A service with its container, and when that was killed."""

    name: str
    box: Box
    killed_at: datetime | None = None


def run() -> None:
    """Print the figures."""
    print(machine())
    busybox = shutil.which("busybox")
    if busybox is None:
        raise RuntimeError("busybox is missing (Debian: busybox-static)")
    with image(Path(busybox)) as containers, servers(SMM_WEB_PORT=str(free_port())) as home:
        victims, text = _victims(containers)
        (home / "smm-admin.toml").write_text(text)
        with engine(home, PROCESSES):
            wait_until(lambda: _up() > KILLS, seconds=180, what="every container is up", every=0.5)
            _kill(victims)
            wait_until(lambda: _closed() >= KILLS, seconds=600, what="every container is back", every=0.5)
            wait_until(lambda: bool(_escalated()), seconds=300, what="the broken one is escalated", every=0.5)
            show([*_figures(victims[:-1]), *_of_the_broken(victims[-1])])


def _victims(containers: Containers) -> tuple[list[Victim], str]:
    """The containers, and the shipped catalogue with a service for each; the budget of the whole stack is raised."""
    shipped = resource("deploy/smm-admin.toml").read_text()
    text = shipped.replace('containers = ["claw-*"]', f'containers = ["{containers.prefix}-*"]')
    text = text.replace("restarts_in_all = 10 ", "restarts_in_all = 100 ")
    victims = []
    for number in range(KILLS):
        port = free_port()
        box = containers.serve(f"claw-{number:02}", port)
        victims.append(Victim(f"victim-{number:02}", box))
        text += SERVICE.format(name=victims[-1].name, port=port, container=box.name)
    port = free_port()
    box = containers.run("claw-broken", "sh", "-c", DIES_AGAIN.format(port=port))
    victims.append(Victim(BROKEN, box))
    return victims, text + SERVICE.format(name=BROKEN, port=port, container=box.name)


def _kill(victims: list[Victim]) -> None:
    moments = sorted(random.uniform(0, SPREAD_SECONDS) for _ in victims)
    started = time.perf_counter()
    for moment, victim in zip(moments, victims, strict=True):
        time.sleep(max(0.0, started + moment - time.perf_counter()))
        victim.killed_at = clock.now()
        victim.box.kill()


def _up() -> int:
    found = execute_once(
        "SELECT count(*) AS n FROM services WHERE (name LIKE 'victim-%' OR name = 'broken') AND state = 'up'"
    )
    return int(found[0].n)


def _closed() -> int:
    """Services that are known to be up again, and whose run has come to its end."""
    found = execute_once(
        "SELECT count(*) AS n FROM signals s JOIN recovery_runs r ON r.service = s.subject"
        " WHERE s.kind = 'health.up' AND s.subject LIKE 'victim-%' AND r.ended_at IS NOT NULL"
    )
    return int(found[0].n)


def _figures(victims: list[Victim]) -> list[Figure]:
    """From the kill itself: to the alert that fires, to the restart's end, to the service known to be up again."""
    alerts = {row.service: row.fired_at for row in execute_once("SELECT service, fired_at FROM alert_episodes")}
    back = {row.subject: row.at for row in execute_once("SELECT subject, at FROM signals WHERE kind = 'health.up'")}
    restarted = {
        row.service: row.ended_at
        for row in execute_once(
            "SELECT r.service, s.ended_at FROM recovery_steps s JOIN recovery_runs r ON r.id = s.run_id"
            " WHERE s.action = 'restart_container'"
        )
    }
    verdicts = execute_once("SELECT verdict, count(*) AS n FROM recovery_runs GROUP BY verdict")
    recovered = sum(row.n for row in verdicts if row.verdict == "recovered")
    figures = [Figure("killed, restarted once and back", recovered, "of 20", limit=KILLS, at_least=True)]
    for what, moments, limit in (
        ("killed to the alert (MTTD)", alerts, 60.0),
        ("killed to the restart's end", restarted, None),
        ("killed to known to be up (MTTR)", back, 300.0),
    ):
        seconds = sorted(_seconds(victim, moments[victim.name]) for victim in victims)
        figures += [
            Figure(f"{what}, least", seconds[0], "s"),
            Figure(f"{what}, median", percentile(seconds, 50), "s"),
            Figure(f"{what}, p95", percentile(seconds, 95), "s"),
            Figure(f"{what}, most", seconds[-1], "s", limit=limit),
        ]
        print(f"{what}: {' '.join(f'{value:.0f}' for value in seconds)}")
    return figures


def _escalated() -> list[datetime]:
    return [row.at for row in execute_once("SELECT at FROM signals WHERE kind = 'recovery.escalated'")]


def _of_the_broken(victim: Victim) -> list[Figure]:
    restarts = execute_once("SELECT count(*) AS n FROM recovery_restarts WHERE service = 'broken'")[0].n
    return [
        Figure("dies again at once: killed to escalated", _seconds(victim, _escalated()[0]), "s", limit=300),
        Figure("dies again at once: restarts", restarts, "", limit=1),
    ]


def _seconds(victim: Victim, moment: datetime) -> float:
    assert victim.killed_at is not None
    return (moment - victim.killed_at).total_seconds()

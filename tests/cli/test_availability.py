"""`smm-admin availability`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from tests.health.catalogs import catalog_of, tcp, use
from tests.health.outages import an_outage

Smm = Callable[..., Ran]
CATALOG = tcp("db", essential="true", objective=99) + tcp("web")


@pytest.fixture
def outage(smm: Smm, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, home, CATALOG)
    an_outage(catalog_of(CATALOG))


@pytest.mark.usefixtures("outage")
def test_all_services_in_a_table(smm: Smm) -> None:
    ran = smm("availability")
    assert ran.code == 0, ran.err
    heading, stack, db, web = ran.out.splitlines()[:4]
    assert heading.split()[:5] == ["SERVICE", "24H", "7D", "30D", "90D"]
    assert stack.split()[0] == "stack"
    assert "99 %" in db
    assert "burns fast" in db
    assert web.split()[:5] == ["web", "-", "-", "-", "-"]
    assert "as of 20" in ran.out


@pytest.mark.usefixtures("outage")
def test_one_service_in_full(smm: Smm) -> None:
    ran = smm("availability", "db")
    assert ran.out.startswith("db: objective 99 %, budget left 93.06 % (6 h 42 min), burns fast")
    assert "30 min 0 s" in ran.out
    assert "time to recover" in ran.out
    assert "its error budget burns fast since" in ran.out
    assert smm("availability", "stack").out.startswith("stack: objective 99.9 %, budget left 30.56 %")


@pytest.mark.usefixtures("outage")
def test_for_machines_it_is_the_apis_document(smm: Smm) -> None:
    assert set(smm("availability", "--json").json["services"]) == {"db", "web"}
    assert smm("availability", "db", "--json").json["uptime"]["24h"]["down_seconds"] == 1800


@pytest.mark.usefixtures("outage")
def test_a_service_that_is_not_there_is_said_in_one_line(smm: Smm) -> None:
    ran = smm("availability", "nobody")
    assert (ran.code, ran.err) == (1, "smm-admin: the catalogue has no service nobody\n")

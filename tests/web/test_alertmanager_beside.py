"""The real Alertmanager beside us: the same requests, the same answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx import Response
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from tests.fixtures.programs import need
from tests.fixtures.stack import free_port
from tests.fixtures.waiting import until
from tests.health.catalogs import tcp, use

pytestmark = pytest.mark.prometheus

CONFIG = """
route: {receiver: everybody, group_by: [alertname], group_wait: 0s, routes: [
  {matchers: ['severity="critical"'], receiver: pages, group_by: ['...']}]}
receivers: [{name: everybody}, {name: pages}]
inhibit_rules: [{source_matchers: ['alertname="Database"'], target_matchers: ['alertname="Symptom"'], equal: [cluster]}]
"""
CATALOG = (
    tcp("shop")
    + """
[channels.ops]
kind = "webhook"
url = "http://127.0.0.1:9/ops"
[receivers.everybody]
notify = ["channel:ops"]
[receivers.pages]
notify = ["channel:ops"]
[routing]
receiver = "everybody"
group_by = ["alertname"]
group_wait = 0
[[routing.routes]]
matchers = ['severity="critical"']
receiver = "pages"
group_by = ["..."]
[[inhibitions]]
source = ['alertname="Database"']
target = ['alertname="Symptom"']
equal = ["cluster"]
"""
)
ALERTS, SILENCES = "/api/v2/alerts", "/api/v2/silences"


class Both:
    """Us and the real one, asked the same."""

    def __init__(self, us: TestClient, real: httpx.Client) -> None:
        self.us, self.real = us, real

    def ask(self, method: str, path: str, **how: Any) -> tuple[Response, Response]:
        """Both answers: ours, then the real one's."""
        if isinstance(how.get("content"), list | dict):
            how["content"] = json.dumps(how["content"])
        headers = {"Content-Type": "application/json"} if "content" in how else {}
        ours = self.us.request(method, path, headers=headers, **how)
        return ours, self.real.request(method, path, headers=headers, **how)

    def same(self, method: str, path: str, **how: Any) -> Any:
        """The JSON that both say, once times and ids are left out."""
        ours, real = self.ask(method, path, **how)
        assert ours.status_code == real.status_code, (how, ours.text, real.text)
        if not real.content:
            assert not ours.content
            return None
        assert plain(ours.json()) == plain(real.json())
        return real.json()

    def post(self, *alerts: Any) -> None:
        self.same("POST", ALERTS, content=list(alerts))

    def settle(self) -> None:
        """The real one works on alerts in the background."""
        until(lambda: self.plain_alerts(self.us) == self.plain_alerts(self.real), what="the same alerts in both")

    @staticmethod
    def plain_alerts(client: Any) -> Any:
        return plain(client.get(ALERTS).json())


def plain(value: Any) -> Any:
    """Without what is of the moment, and without `mutedBy` and `routeLabels`, which 0.25 has not yet."""
    moments = ("updatedAt", "endsAt", "startsAt", "mutedBy", "routeLabels", "silenceID", "id", "silencedBy")
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if name not in moments}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def both(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: TestClient) -> Iterator[Both]:
    program = need("prometheus-alertmanager", package="prometheus-alertmanager")
    use(monkeypatch, home, CATALOG)
    (tmp_path / "am.yml").write_text(CONFIG)
    address = f"127.0.0.1:{free_port()}"
    arguments = (f"--config.file={tmp_path / 'am.yml'}", f"--storage.path={tmp_path}", "--cluster.listen-address=")
    process = subprocess.Popen(
        [program, *arguments, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    try:
        with httpx.Client(base_url=f"http://{address}", verify=False) as real:
            until(lambda: is_ready(real), what="the real Alertmanager")
            yield Both(client, real)
    finally:
        process.kill()
        process.wait(10)
        settings.cache_clear()


def is_ready(real: httpx.Client) -> bool:
    try:
        return real.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def named(name: str = "Trouble", **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, **labels}}


LATER = "2100-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "alerts",
    [
        [],
        [named()],
        [{"labels": {}}],
        [{"labels": {"a": ""}}],
        [{"labels": {"a-b": "x"}}],
        [{"labels": {"": "x"}}],
        [{"labels": {"1a": "x"}}],
        [{"labels": {"ü": "x"}}],
        [{"labels": {"__name__": "x"}}],
        [{**named(), "annotations": {"a-b": "x"}}],
        [{**named(), "annotations": {"a": ""}}],
        [{**named(), "annotations": None}],
        [{**named(), "startsAt": LATER}],
        [{**named(), "startsAt": "2024-01-01T00:00:00Z", "endsAt": "2023-01-01T00:00:00Z"}],
        [{**named(), "startsAt": "", "endsAt": None}],
        [{**named(), "startsAt": "2024-01-01T00:00:00", "endsAt": LATER}],
        [{**named(), "startsAt": "2024-01-01T00:00:00.123456789+02:00"}],
        [{**named(), "endsAt": "0001-01-01T00:00:00.000Z"}],
        [{**named(), "generatorURL": "http://prometheus/graph?a=b"}],
        [{**named(), "generatorURL": ""}],
        [{**named(), "unknown": 1}],
        [named(), {"labels": {}}],
        [{"labels": {}}, {"labels": {"a-b": "1"}}, named("Other")],
        [named("x", a="\u202e ü 日本語 🚨", b='"\\ \n', c="\ud800")],
    ],
)
def test_both_say_the_same_of_the_same_posts(both: Both, alerts: list[Any]) -> None:
    both.same("POST", ALERTS, content=alerts)
    both.settle()


@pytest.mark.parametrize("content", ["{", "{}", '"x"', "[1]", '[{"labels": {"a": 1}}]', '[{"labels": []}]'])
def test_both_refuse_what_is_no_list_of_alerts(both: Both, content: str) -> None:
    ours, real = both.ask("POST", ALERTS, content=content)
    assert ours.status_code == real.status_code == 400


def test_both_show_the_same_alerts_and_groups(both: Both) -> None:
    now = clock.now()
    both.post(named(), named(cluster="eu"), named("Bad", severity="critical"), named("Bad", severity="critical", n="2"))
    both.post(named("Database", cluster="eu"), named("Symptom", cluster="eu"), named("Symptom", cluster="us"))
    both.post({**named("Over"), "startsAt": clock.iso(now - timedelta(hours=1)), "endsAt": clock.iso(now)})
    both.settle()
    for query in (
        {"filter": ["alertname=~Bad|Trouble", "n="]},
        {"filter": ['cluster!="eu"']},
        {"filter": ['cluster!~"e.+"']},
        {"receiver": "page"},
        {"receiver": "page.*"},
        {"active": "false"},
        {"inhibited": "false"},
        {"active": "maybe", "inhibited": "yes"},
        {"silenced": "false", "unprocessed": "false"},
    ):
        assert both.same("GET", ALERTS, params=query) is not None
        ours, real = both.ask("GET", f"{ALERTS}/groups", params=query)
        assert plain(ordered(ours.json())) == plain(ordered(real.json()))
    for refused in ({"filter": "x"}, {"receiver": "("}, {"filter": 'a=~"("'}):
        ours, real = both.ask("GET", ALERTS, params=refused)
        assert (ours.status_code, type(ours.json())) == (real.status_code, type(real.json())) == (400, str)


def ordered(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The real one has no order within a group."""
    return [{**group, "alerts": sorted(group["alerts"], key=lambda alert: alert["fingerprint"])} for group in groups]


def test_both_end_what_was_said_to_have_ended(both: Both) -> None:
    start = clock.now() - timedelta(minutes=1)
    both.post({**named(), "startsAt": clock.iso(start)}, named("Stays"))
    both.settle()
    both.post({**named(), "startsAt": clock.iso(start), "endsAt": clock.iso(clock.now())})
    both.settle()
    assert {alert["labels"]["alertname"] for alert in both.real.get(ALERTS).json()} == {"Stays"}


def test_both_merge_beginnings_and_ends_alike(both: Both) -> None:
    now = clock.now()

    def at(minutes: float) -> str:
        return clock.iso(now + timedelta(minutes=minutes))

    both.post({**named("A"), "startsAt": at(-10), "endsAt": at(10)}, {**named("B"), "startsAt": at(-10)})
    both.post({**named("A"), "startsAt": at(-5), "endsAt": at(4)}, {**named("B"), "startsAt": at(-3), "endsAt": at(3)})
    both.post({**named("C"), "endsAt": at(20)}, {**named("C"), "endsAt": at(30)})
    both.post({**named("D"), "startsAt": at(-2)}, {**named("D"), "startsAt": at(-9)})
    both.settle()
    ours, real = (
        {alert["labels"]["alertname"]: alert for alert in client.get(ALERTS).json()} for client in (both.us, both.real)
    )
    assert set(ours) == {"A", "B", "C", "D"}
    for name, end in (("A", 10), ("B", 3), ("C", 30)):
        assert ours[name]["endsAt"] == real[name]["endsAt"] == at(end)
    for name, start in (("A", -10), ("B", -10), ("D", -9)):
        assert ours[name]["startsAt"] == real[name]["startsAt"] == at(start)


def silence(**fields: Any) -> dict[str, Any]:
    now = clock.now()
    return {
        "matchers": [{"name": "alertname", "value": "Trouble", "isRegex": False, "isEqual": True}],
        "startsAt": clock.iso(now),
        "endsAt": clock.iso(now + timedelta(hours=1)),
        "createdBy": "ann",
        "comment": "we know",
        **fields,
    }


def matcher(value: str, **fields: Any) -> dict[str, Any]:
    return {"matchers": [{"name": "a", "value": value, "isRegex": False, **fields}]}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"createdBy": "", "comment": ""},
        {"id": ""},
        {"id": "b3e1c4a0-0000-4000-8000-000000000000"},
        {"id": "nope"},
        {"startsAt": LATER},
        {"endsAt": "2020-01-01T00:00:00Z"},
        {"startsAt": "2019-01-01T00:00:00Z", "endsAt": "2020-01-01T00:00:00Z"},
        matcher(""),
        matcher("x"),
        matcher(".*", isRegex=True),
        matcher("x|", isRegex=True),
        matcher("b", isEqual=False),
        matcher("", isEqual=False),
        {"matchers": [*matcher("")["matchers"], *matcher("x")["matchers"]]},
    ],
)
def test_both_take_and_refuse_the_same_silences(both: Both, fields: dict[str, Any]) -> None:
    both.same("POST", SILENCES, content=silence(**fields))
    both.same("GET", SILENCES)


@pytest.mark.parametrize(
    "fields", [matcher("(", isRegex=True), matcher("x", name="a-b"), matcher("x", name=""), {"startsAt": "soon"}]
)
def test_both_refuse_them_if_not_in_the_same_words(both: Both, fields: dict[str, Any]) -> None:
    ours, real = both.ask("POST", SILENCES, content=silence(**fields))
    assert ours.status_code == real.status_code == 400


def test_both_change_and_expire_silences_alike(both: Both) -> None:
    both.post(named(), named("Other"))
    both.settle()
    ids = [answer.json()["silenceID"] for answer in both.ask("POST", SILENCES, content=silence())]
    both.settle()
    for change in ({"comment": "longer", "endsAt": LATER}, {"startsAt": LATER, "endsAt": "2101-01-01T00:00:00Z"}):
        kept = [
            client.get(f"/api/v2/silence/{one}").json() for client, one in zip((both.us, both.real), ids, strict=True)
        ]
        after = [
            client.post(SILENCES, json={**shown, **change}).json()["silenceID"]
            for client, shown in zip((both.us, both.real), kept, strict=True)
        ]
        assert [old == new for old, new in zip(ids, after, strict=True)] == ["comment" in change] * 2
        both.same("GET", SILENCES)
        both.same("GET", SILENCES, params={"filter": 'alertname="Trouble"'})
        both.same("GET", SILENCES, params={"filter": 'alertname="Other"'})
        ids = after
    for client, one in zip((both.us, both.real), ids, strict=True):
        for _ in range(2):
            assert client.delete(f"/api/v2/silence/{one}").status_code == 200
        assert client.get(f"/api/v2/silence/{one}").json()["status"]["state"] == "expired"
    both.same("GET", SILENCES)
    ours, real = both.ask("GET", "/api/v2/silence/b3e1c4a0-0000-4000-8000-000000000000")
    assert ours.status_code == real.status_code == 404


def test_both_are_alive_and_know_the_same_receivers(both: Both) -> None:
    both.same("GET", "/api/v2/receivers")
    for path in ("/-/healthy", "/-/ready"):
        ours, real = both.ask("GET", path)
        assert (ours.status_code, ours.text) == (real.status_code, real.text)
    ours, real = both.ask("GET", "/api/v2/status")
    assert set(real.json()) <= set(ours.json())
    assert set(real.json()["versionInfo"]) == set(ours.json()["versionInfo"])
    assert both.us.put(ALERTS).status_code == both.real.put(ALERTS).status_code == 405

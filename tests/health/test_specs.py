"""What the catalogue says of services, judged by their kinds."""

from __future__ import annotations

import pytest

from app.errors import Invalid
from app.health.results import Threshold
from app.health.specs import resolve_all
from tests.health.catalogs import catalog_of, tcp


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as refused:
        catalog_of(text)
    return [f"{problem.field}: {problem.message}" for problem in refused.value.problems]


def test_what_a_service_does_not_say_its_kind_does():
    specs = resolve_all(catalog_of('[services.db]\nkind = "postgres"\n' + tcp("web", interval=30, timeout=2)))
    assert (specs["db"].interval_seconds, specs["db"].timeout_seconds, specs["db"].watched_by) == (15, 5, "watchdog")
    assert (specs["web"].interval_seconds, specs["web"].timeout_seconds, specs["web"].watched_by) == (30, 2, "engine")


def test_a_disabled_service_is_absent():
    assert set(resolve_all(catalog_of(tcp("web") + tcp("old", enabled="false")))) == {"web"}


def test_an_unknown_kind_and_an_unknown_option_are_named_with_what_was_meant():
    found = problems('[services.db]\nkind = "postgre"\n' + tcp("web", expct='"x"'))
    assert found[0].startswith("services.db.kind: ")
    assert 'did you mean "postgres"?' in found[0]
    assert found[1].startswith("services.web.expct: ")
    assert 'did you mean "expect"?' in found[1]


def test_a_wrong_option_is_named_and_its_value_is_not_repeated():
    found = problems('[services.web]\nkind = "http"\nurl = "s3cret"\nexpect_status = "s3cret"\n')
    assert [line.split(":")[0] for line in found] == ["services.web.url", "services.web.expect_status"]
    assert "s3cret" not in str(found)


def test_a_required_option_that_is_missing_is_named():
    assert problems('[services.web]\nkind = "http"\n') == ["services.web.url: is required"]


def test_a_threshold_of_a_reading_that_the_kind_does_not_have_is_named():
    (found,) = problems(tcp("web") + "[services.web.thresholds]\nlatency = {warning = 5}\n")
    assert found.startswith("services.web.thresholds.latency: ")
    assert 'did you mean "latency_ms"?' in found


def test_a_heartbeat_cannot_be_watched_by_the_watchdog():
    (found,) = problems('[services.cron]\nkind = "heartbeat"\nwatched_by = "watchdog"\n')
    assert found.startswith("services.cron.watched_by: ")


def test_limits_of_the_catalogue_replace_those_of_the_kind_and_keep_their_direction():
    text = tcp("web") + "[services.web.thresholds]\nlatency_ms = {warning = 100}\n"
    text += '[services.shop]\nkind = "http"\nurl = "https://shop.test/"\n'
    text += "[services.shop.thresholds]\ntls_days_left = {warning = 30}\n"
    specs = resolve_all(catalog_of(text))
    assert specs["web"].thresholds == {"latency_ms": Threshold(warning=100)}
    assert specs["shop"].thresholds == {"tls_days_left": Threshold(warning=30, below=True)}


def test_a_change_of_an_option_is_another_digest_and_a_change_of_nothing_is_not():
    first, again, other = (resolve_all(catalog_of(tcp("web", port)))["web"] for port in (1, 1, 2))
    assert first.row() == again.row()
    assert first.row()["spec_digest"] != other.row()["spec_digest"]

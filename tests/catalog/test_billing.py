"""[providers.NAME]: whose bills are read; the key is shown nowhere."""

from __future__ import annotations

import pytest

from app.catalog import Catalog, lines_of, parse
from app.costs.billing import catalog_problems, named_by_calls
from app.errors import Invalid

SERVICE = "[services.x]\nkind = 'disk'\npath = '/'\n"
GOOD = '[providers.openai]\nbilling = "openai"\nkey = "${OPENAI_ADMIN_KEY}"\n'


def catalog_of(text: str, key: str = "sk-admin-5ecret") -> Catalog:
    return parse(SERVICE + text, [catalog_problems], subject="smm.toml", lookup={"OPENAI_ADMIN_KEY": key}.get)


def problems(text: str, key: str = "sk-admin-5ecret") -> list[str]:
    with pytest.raises(Invalid) as caught:
        catalog_of(text, key)
    assert "5ecret" not in str(caught.value)
    return [line.removeprefix("smm.toml:") for line in lines_of(caught.value)]


def test_a_provider_has_its_defaults_and_hides_its_key() -> None:
    catalog = catalog_of(GOOD + 'rates = {CNY = 0.14}\nbase_url = "https://proxy.example/openai/"\n')
    found = catalog.billing.providers["openai"]
    assert (found.settle_days, found.tolerance, found.timeout, found.rates) == (2, 0.02, 20, {"CNY": 0.14})
    assert found.key.get_secret_value() == "sk-admin-5ecret"
    assert found.base_url == "https://proxy.example/openai"
    assert "5ecret" not in f"{found!r} {catalog!r} {found.model_dump_json()}"
    assert named_by_calls(found) == ("openai",)
    assert named_by_calls(found.model_copy(update={"provider": ("azure",)})) == ("azure",)
    assert catalog_of(GOOD + "enabled = false\n").billing.enabled == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tolerance = 2", "7: providers.openai.tolerance: must be at most 1"),
        ("settle_days = true", "7: providers.openai.settle_days: must be a number"),
        ('base_url = "ftp://x"', "7: providers.openai.base_url: must be an address such as https://api.example.com"),
        ('base_url = "https://u:5ecret@x"', "7: providers.openai.base_url: must be an address"),
        ('base_url = "https://x?key=5ecret"', "7: providers.openai.base_url: must be an address"),
        ('currency = "usd"', "7: providers.openai.currency: must match ^[A-Z]{3}$"),
        ("rates = {CNY = 0}", "7: providers.openai.rates.CNY: must be more than 0"),
        ("setle_days = 1", '7: providers.openai.setle_days: is not known (did you mean "settle_days"?)'),
        (
            '[providers.b]\nbilling = "opnai"\nkey = "x"',
            "8: providers.b.billing: is none of anthropic, moonshot, openai",
        ),
        (
            '[providers.b]\nbilling = "anthropic"\nkey = "x"\nprovider = ["openai"]',
            '10: providers.b.provider: calls of "openai" are compared with the bill of [providers.openai] already',
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(line: str, said: str) -> None:
    assert any(said in problem for problem in problems(GOOD + line)), problems(GOOD + line)


@pytest.mark.parametrize("key", ["", "5ecret with blanks", "5ecret\n", "5ecr\u00e9t"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str) -> None:
    assert "6: providers.openai.key: must be a key" in problems(GOOD, key)[0]


def test_a_key_is_required_and_so_is_a_table_of_tables() -> None:
    assert "providers.a.key: is required" in problems('[providers.a]\nbilling = "openai"\n')[0]
    assert problems("[providers]\na = 1\n") == ["5: providers.a: must be a table"]
    assert "providers: must be a table of tables" in problems("[[providers]]\n")[0]

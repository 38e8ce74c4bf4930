"""What the catalogue says of channels and of the addresses that people have there."""

from __future__ import annotations

import json

import pytest

from app.catalog import Catalog, parse
from app.errors import Invalid
from app.notify import Rate, catalog_problems, kinds, resolve, resolve_all, shown
from tests.health.catalogs import tcp
from tests.notify.servers import HTTP_KINDS, ROUTING_KEY, SECRET_PATH, TOKEN, http_options, mail_options

ENVIRONMENT = {"SLACK": "https://hooks.test/services/s3cret", "KEY": "Bearer s3cret"}
SLACK = '[channels.ops]\nkind = "slack"\nwebhook_url = "${SLACK}"\n'
BOT = f'[channels.bot]\nkind = "telegram"\ntoken = "{TOKEN}"\n'
MAIL = '[channels.mail]\nkind = "email"\nhost = "mail.test"\nfrom = "ops@example.com"\n'
PAGER = '[channels.pager]\nkind = "pagerduty"\n'


def read(text: str) -> Catalog:
    return parse(tcp("web") + text, [catalog_problems], lookup=ENVIRONMENT.get)


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as refused:
        read(text)
    return [f"{problem.field}: {problem.message}" for problem in refused.value.problems]


def test_what_a_channel_does_not_say_its_kind_does() -> None:
    specs = resolve_all(read(SLACK + 'fallback = "bot"\n' + BOT + "rate_per_second = 2\nburst = 9\ntimeout = 4\n"))
    assert (specs["ops"].rate, specs["ops"].timeout_seconds, specs["ops"].allow) == (kinds()["slack"].RATE, 10, ())
    assert (specs["bot"].rate, specs["bot"].timeout_seconds) == (Rate(2, 9), 4)
    assert specs["ops"].name == "ops"


def test_a_disabled_channel_is_absent_and_still_checked() -> None:
    assert set(resolve_all(read(SLACK + BOT + "enabled = false\n"))) == {"ops"}
    assert problems(BOT + "enabled = false\ntimeot = 3\n")[0].startswith("channels.bot.timeot: ")


def test_an_unknown_kind_and_an_unknown_option_are_named_with_what_was_meant() -> None:
    found = problems('[channels.a]\nkind = "slak"\n' + SLACK + 'webhook = "x"\n')
    assert found[0].startswith("channels.a.kind: ")
    assert 'did you mean "slack"?' in found[0]
    assert found[1] == 'channels.ops.webhook: is not known (did you mean "webhook_url"?)'


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('[channels.a]\nkind = "slack"\nwebhook_url = "s3cret"\n', "channels.a.webhook_url"),
        ('[channels.a]\nkind = "discord"\nwebhook_url = "ftp://s3cret/x"\n', "channels.a.webhook_url"),
        ('[channels.a]\nkind = "teams"\nwebhook_url = "https:///s3cret"\n', "channels.a.webhook_url"),
        ('[channels.a]\nkind = "webhook"\nurl = "https://x.test/#s3cret"\n', "channels.a.url"),
        ('[channels.a]\nkind = "telegram"\ntoken = "s3cret token"\n', "channels.a.token"),
        (BOT + 'chat_id = "s3cret chat"\n', "channels.bot.chat_id"),
        (PAGER + 'base_url = "s3cret"\n', "channels.pager.base_url"),
        (MAIL + 'to = ["s3cret"]\n', "channels.mail.to[0]"),
    ],
)
def test_a_wrong_option_is_named_and_its_value_is_not_repeated(text: str, path: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"{path}: must be ")
    assert "s3cret" not in found


def test_a_required_option_that_is_missing_is_named() -> None:
    assert problems('[channels.a]\nkind = "slack"\n') == ["channels.a.webhook_url: is required"]
    assert problems('[channels.a]\nkind = "email"\nhost = "mail.test"\n') == ["channels.a.from: is required"]


def test_headers_that_would_break_a_request_are_refused_without_their_values() -> None:
    for headers in (
        '{"X-A" = "s3\\r\\ncret"}',
        '{"X A" = "s3cret"}',
        '{Idempotency-Key = "s3cret"}',
        '{X = "s3créet"}',
    ):
        (found,) = problems(f'[channels.a]\nkind = "webhook"\nurl = "https://x.test/"\nheaders = {headers}\n')
        assert found.startswith("channels.a.headers: ")
        assert "cret" not in found


def test_a_network_that_is_none_is_named_with_its_place() -> None:
    (found,) = problems(SLACK + 'allow = ["10.0.0.0/8", "10.0.0.0/99"]\n')
    assert found == "channels.ops.allow[1]: is no network such as 10.0.0.0/8"


def person(channel: str, to: str | None = None) -> str:
    address = "" if to is None else f', to = "{to}"'
    return f'[people.ann]\ncontacts = [{{channel = "{channel}"{address}}}]\n'


def test_a_contact_must_say_where_when_the_channel_does_not() -> None:
    for text, name in ((BOT, "bot"), (MAIL, "mail"), (PAGER, "pager")):
        (found,) = problems(text + person(name))
        assert found.startswith(f"people.ann.contacts[0].to: {name}: no ")


def test_a_contact_may_leave_out_what_the_channel_says() -> None:
    for text, name in ((BOT + "chat_id = -5\n", "bot"), (MAIL + 'to = "a@b.test"\n', "mail"),
                       (PAGER + 'routing_key = "k"\n', "pager"), (SLACK, "ops")):  # fmt: skip
        assert name in resolve_all(read(text + person(name)))


def test_a_contact_must_not_choose_where_there_is_nothing_to_choose() -> None:
    (found,) = problems(SLACK + person("ops", "#alerts"))
    assert found == "people.ann.contacts[0].to: slack has no addresses to choose from: leave it out"


def test_an_address_of_a_contact_must_look_like_one() -> None:
    assert problems(MAIL + person("mail", "ann"))[0].startswith("people.ann.contacts[0].to: mail: must be an address")
    assert problems(BOT + person("bot", "ann"))[0].startswith("people.ann.contacts[0].to: bot: must be a chat's number")


def test_a_recipient_that_names_a_channel_needs_its_own_address() -> None:
    text = BOT + '[receivers.all]\nnotify = ["channel:bot"]\n[alerting]\nsynthetic = ["channel:bot"]\n'
    text += '[ladders.warning]\nsteps = [{after_minutes = 5, notify = ["channel:bot"]}]\n'
    assert [found.partition(":")[0] for found in sorted(problems(text))] == [
        "alerting.synthetic[0]", "ladders.warning.steps[0].notify[0]", "receivers.all.notify[0]"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("contact", "wrong"),
    [
        ('{channel = "bto", to = "1"}', 'channel: there is no [channels.bto] (did you mean "bot"?)'),
        ('{channel = "bot", to = "nobody at all"}', "to: bot: must be a chat's number"),
        ('{channel = "bot"}', "to: bot: no chat"),
        ('{channel = "ops", to = "x"}', "to: slack has no addresses to choose from"),
        ('{channel = "pager", to = "key"}', "channel: pagerduty carries no letters to clients"),
    ],
)
def test_a_tenants_contact_that_no_letter_can_reach_is_named(contact: str, wrong: str) -> None:
    text = BOT + SLACK + PAGER
    [found] = problems(f"{text}[tenants.acme]\ncontacts = [{contact}]\n")
    assert found.startswith(f"tenants.acme.contacts[0].{wrong}")


def test_a_broken_channel_is_told_once_and_not_again_for_each_who_uses_it() -> None:
    assert len(problems('[channels.a]\nkind = "nonsense"\n' + person("a"))) == 1


def test_resolving_what_was_not_checked_names_what_is_wrong() -> None:
    channel = parse(tcp("web") + '[channels.a]\nkind = "slack"\n').telling.channels["a"]
    with pytest.raises(Invalid, match=r"channel a.*channels\.a\.webhook_url"):
        resolve(channel)


def test_a_channel_is_shown_as_it_is_used_with_references_and_without_secrets() -> None:
    text = SLACK + 'rate_per_second = 2\n[channels.hook]\nkind = "webhook"\nurl = "https://x.test/s3cret"\n'
    text += 'headers = {Authorization = "${KEY}"}\nallow = ["10.0.0.0/8"]\n'
    specs = resolve_all(read(text))
    ops, hook = shown(specs["ops"]), shown(specs["hook"])
    assert (ops["kind"], ops["webhook_url"], ops["rate_per_second"], ops["burst"]) == ("slack", "${SLACK}", 2, 5)
    assert hook["headers"] == {"Authorization": "${KEY}"}
    assert hook["allow"] == ["10.0.0.0/8"]
    assert "s3cret" not in json.dumps([ops, hook])
    assert "s3cret" not in repr(specs)


@pytest.mark.parametrize("kind", kinds())
def test_no_kind_shows_its_secrets(kind: str) -> None:
    options = {"email": mail_options(25), "console": {}} | {
        name: http_options(name, "https://x.test") for name in HTTP_KINDS
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in options[kind].items()]
    spec = resolve_all(read("\n".join([f'[channels.it]\nkind = "{kind}"', *lines]) + "\n"))["it"]
    told = json.dumps(shown(spec)) + repr(spec)
    for secret in (TOKEN, SECRET_PATH, ROUTING_KEY, "s3cret"):
        assert secret not in told

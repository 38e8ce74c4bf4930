"""The catalogue's channels as they are used: every default filled in, options typed; and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from app.catalog import Catalog, Channel, Telling, did_you_mean, explain
from app.errors import Invalid, Misconfigured, Problem
from app.infra import egress
from app.infra.logging import get_logger
from app.infra.scrub import scrub
from app.notify.channel import ChannelModule, Options, Rate
from app.notify.channels import kinds

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """How one channel is used. Options hold secrets and are not shown."""

    channel: Channel
    module: ChannelModule
    options: Options = field(repr=False)
    rate: Rate
    timeout_seconds: float
    allow: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.channel.name

    def destination(self, to: str | None = None) -> str:
        """The stable name of one address, without secrets. Raises Misconfigured where there is none."""
        return self.module.destination(self.options, to)


def resolve(channel: Channel) -> ChannelSpec:
    """The channel with everything filled in. Raises Invalid, of a checked catalogue only when a file went away."""
    problems = channel_problems(channel)
    if problems:
        raise Invalid(problems, subject=f"channel {channel.name}")
    module = kinds()[channel.kind]
    return ChannelSpec(
        channel=channel,
        module=module,
        options=module.Options.model_validate(channel.options),
        rate=Rate(
            per_second=module.RATE.per_second if channel.rate_per_second is None else channel.rate_per_second,
            burst=module.RATE.burst if channel.burst is None else channel.burst,
        ),
        timeout_seconds=channel.timeout,
        allow=channel.allow,
    )


def resolve_all(catalog: Catalog) -> dict[str, ChannelSpec]:
    """Every enabled channel, by name; one that was good when the catalogue was read and is not any more (its file of
    certificates is gone) is left out and takes no other one along."""
    found = {}
    for name, channel in catalog.telling.channels.items():
        if channel.enabled:
            try:
                found[name] = resolve(channel)
            except Invalid as error:
                log.error("a channel cannot be used any more", channel=name, error=str(error))
    return found


def catalog_problems(catalog: Catalog) -> list[Problem]:
    """What is wrong with channels' kinds, options and networks, and with the addresses that people have there."""
    found = [problem for channel in catalog.telling.channels.values() for problem in channel_problems(channel)]
    good = {name: resolve(channel) for name, channel in catalog.telling.channels.items()
            if not channel_problems(channel)}  # fmt: skip
    return [*found, *_address_problems(catalog.telling, good), *_client_problems(catalog, good)]


def channel_problems(channel: Channel) -> list[Problem]:
    """The same for one channel, each with its path: `channels.ops.webhook_url`."""
    path = f"channels.{channel.name}"
    module = kinds().get(channel.kind)
    if module is None:
        return [Problem(f"{path}.kind", f"is none of {', '.join(kinds())}{did_you_mean(channel.kind, kinds())}")]
    return [*_network_problems(channel), *_option_problems(channel, module)]


def shown(spec: ChannelSpec) -> dict[str, Any]:
    """Everything set or defaulted, JSON-ready, secrets hidden; `${NAME}` in place of what the environment gave."""
    plain: dict[str, Any] = spec.channel.model_dump(mode="json", exclude={"options"})
    plain |= {"rate_per_second": spec.rate.per_second, "burst": spec.rate.burst}
    tree = {**plain, "options": spec.options.model_dump(mode="json", by_alias=True)}
    clean: Any = scrub(tree)
    for path, written in spec.channel.references.items():
        inner: Any = clean
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = written
    return {**clean, **clean.pop("options")}


def _network_problems(channel: Channel) -> Iterator[Problem]:
    for place, text in enumerate(channel.allow):
        try:
            egress.networks((text,))
        except Misconfigured:
            yield Problem(f"channels.{channel.name}.allow[{place}]", "is no network such as 10.0.0.0/8")


def _option_problems(channel: Channel, module: ChannelModule) -> list[Problem]:
    try:
        module.Options.model_validate(channel.options)
    except ValidationError as error:
        keys = {option.alias or name for name, option in module.Options.model_fields.items()}
        return explain(error, ("channels", channel.name), known=keys | set(Channel.model_fields))
    return []


def _address_problems(telling: Telling, specs: dict[str, ChannelSpec]) -> Iterator[Problem]:
    """Contacts and recipients that name no address, or one where there is nothing to choose. Of good channels only."""
    for person in telling.people.values():
        for place, contact in enumerate(person.contacts):
            spec = specs.get(contact.channel)
            path = f"people.{person.name}.contacts[{place}].to"
            if spec is not None and contact.to is not None and not spec.module.TAKES_TO:
                yield Problem(path, f"{spec.module.KIND} has no addresses to choose from: leave it out")
            elif spec is not None:
                yield from _no_address(spec, contact.to, path)
    for path, recipients in _recipients(telling):
        for place, recipient in enumerate(recipients):
            kind, _, name = recipient.partition(":")
            if kind == "channel" and name in specs:
                yield from _no_address(specs[name], None, f"{path}[{place}]")


def _client_problems(catalog: Catalog, specs: dict[str, ChannelSpec]) -> Iterator[Problem]:
    """Contacts of tenants that name no channel, one that carries no letters to clients, or no address there."""
    channels = catalog.telling.channels
    for tenant in catalog.budgeting.tenants.values():
        for place, contact in enumerate(tenant.contacts):
            path, spec = f"tenants.{tenant.name}.contacts[{place}]", specs.get(contact.channel)
            if contact.channel not in channels:
                hint = did_you_mean(contact.channel, channels)
                yield Problem(f"{path}.channel", f"there is no [channels.{contact.channel}]{hint}")
            elif spec is not None and not spec.module.LETTERS:
                yield Problem(f"{path}.channel", f"{spec.module.KIND} carries no letters to clients")
            elif spec is not None and contact.to is not None and not spec.module.TAKES_TO:
                yield Problem(f"{path}.to", f"{spec.module.KIND} has no addresses to choose from: leave it out")
            elif spec is not None:
                yield from _no_address(spec, contact.to, f"{path}.to")


def _no_address(spec: ChannelSpec, to: str | None, path: str) -> Iterator[Problem]:
    try:
        spec.destination(to)
    except Misconfigured as error:
        yield Problem(path, f"{spec.name}: {error}")


def _recipients(telling: Telling) -> Iterable[tuple[str, tuple[str, ...]]]:
    for receiver in telling.receivers.values():
        yield f"receivers.{receiver.name}.notify", receiver.notify
    for ladder in telling.ladders.values():
        for place, step in enumerate(ladder.steps):
            yield f"ladders.{ladder.name}.steps[{place}].notify", step.notify
    yield "alerting.synthetic", telling.alerting.synthetic

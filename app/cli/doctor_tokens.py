"""What `smm-admin doctor` looks at of tokens: their keys, their apps, and where links for owners lead."""

from __future__ import annotations

from collections.abc import Iterator

from app import clock
from app.catalog import Catalog
from app.cli.finding import Finding
from app.config import Settings
from app.errors import Misconfigured, SmmError
from app.infra.crypto import Keyring
from app.infra.db import UnitOfWork, unit_of_work
from app.tokens import apps_state, connect_links, keyring, keys_in_use

KEYS, APPS, LINKS = "token keys", "apps", "links"
_RUNBOOK = "see docs/runbooks/tokens.md"
_CONTACTS = "SELECT EXISTS (SELECT FROM accounts WHERE disabled_at IS NULL AND jsonb_array_length(contacts) > 0)"


def examine(config: Settings, catalog: Catalog | None) -> Iterator[Finding]:
    """All of it; what is sealed, held and told is read from the database, and nothing is changed."""
    try:
        keys = keyring.at_hand()
    except Misconfigured as error:
        yield Finding(KEYS, False, str(error), "put the right file back, or correct the entry")
        return
    try:
        with unit_of_work() as uow:
            found = [*_keys(uow, config, keys), *_apps(uow), *_links(uow, config, catalog)]
    except SmmError as error:
        found = [Finding(KEYS, False, f"unknown: {error}", "see postgres")]
    yield from found


def _keys(uow: UnitOfWork, config: Settings, keys: Keyring | None) -> Iterator[Finding]:
    uses = keys_in_use.read(uow.session, keys, clock.now())
    missing = [use for use in uses if not use.at_hand]
    if keys is None:
        needed = [use.key_id for use in missing]
        detail = "none, and nothing is sealed yet"
        if needed:
            detail = f"{_sum(missing)}: {keyring.missing(config, needed)}"
        yield Finding(KEYS, not needed, detail, _RUNBOOK)
        return
    yield Finding(KEYS, True, f"{', '.join(keys.ids)}; {keys.primary} seals")
    for use in missing:
        yield Finding(KEYS, False, f"{use.key_id} is missing: {_sum([use])}", f"put it back; {_RUNBOOK}")
    for use in uses:
        if use.at_hand and use.present and keys_in_use.is_wrong(uow, keys, use.key_id):
            said = f"{use.key_id} has other bytes than the key of this id that {_sum([use])} with"
            yield Finding(KEYS, False, said, f"put the right one back; {_RUNBOOK}")


def _sum(uses: list[keys_in_use.Use]) -> str:
    count = sum(use.present + use.previous + use.logins for use in uses)
    return "1 token is sealed" if count == 1 else f"{count} tokens are sealed"


def _apps(uow: UnitOfWork) -> Iterator[Finding]:
    for name, state in apps_state.read_all(uow.session).items():
        if name.startswith("key:") or state.state == apps_state.OK:
            continue
        until = "" if state.held_until is None else f", asked again at {clock.iso(state.held_until)}"
        detail = f"{name}: {state.state}{f' ({state.reason})' if state.reason else ''}{until}"
        is_refused = state.state == apps_state.REFUSED
        yield Finding(APPS, not is_refused, detail, f"its accounts wait; {_RUNBOOK}", hint=not is_refused)


def _links(uow: UnitOfWork, config: Settings, catalog: Catalog | None) -> Iterator[Finding]:
    problem = connect_links.reach_problem(config)
    has_ids = catalog is not None and any(app.client_id for app in catalog.connecting.apps.values())
    if problem and (has_ids or uow.execute(_CONTACTS).scalar_one()):
        yield Finding(LINKS, True, problem, connect_links.REACH, hint=True)

"""What an account's owner is told, planned in the transaction that made it true."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app import catalog as catalogs
from app import jobs, signals
from app.catalog import Catalog
from app.errors import Invalid, Misconfigured
from app.infra import ids
from app.infra.db import UnitOfWork
from app.jobs import Priority
from app.notify import resolve
from app.tokens import store
from app.tokens.core import Step
from app.tokens.rows import Account

TASK = "tasks.tokens.tell"
FAILED, TOLD = "tokens.telling_failed", "tokens.told"
RESTORED = "restored"
"""The message that the trouble is over."""

_STEPS = [step.value for step in Step if step is not Step.NONE]


@dataclass(frozen=True, slots=True, order=True)
class Contact:
    """One way to an owner: a channel's name, and the address there; "" where the channel has one of its own."""

    channel: str
    to: str = ""


def contacts_of(account: Account, catalog: Catalog | None = None) -> tuple[Contact, ...]:
    """How its owner is told: the account's own contacts, else its tenant's; those that can be used now, each once."""
    catalog = catalogs.current() if catalog is None else catalog
    wanted = list(map(_contact, account.contacts)) or _of_tenant(account.tenant, catalog)
    return tuple(dict.fromkeys(contact for contact in wanted if not problem_of(contact, catalog)))


def problem_of(contact: Contact, catalog: Catalog) -> str:
    """Why a contact cannot be used; "" for one that can."""
    channel = catalog.telling.channels.get(contact.channel)
    if channel is None:
        return f"there is no channel {contact.channel}"
    if not channel.enabled:
        return f"channel {contact.channel} is switched off"
    try:
        spec = resolve(channel)
        spec.destination(contact.to or None)
    except (Invalid, Misconfigured) as error:
        return str(error)
    if not spec.module.LETTERS:
        return f"{channel.kind} carries no letters to clients"
    if contact.to and not spec.module.TAKES_TO:
        return f"{channel.kind} has no addresses to choose from"
    return ""


def urgency_of(step: Step) -> dict[str, str]:
    """How the staff's alert about a step is told: what pauses the account's operations calls a person at once."""
    if step.height >= Step.LAST.height:
        return {"severity": "critical", "escalate": "now"}
    return {"severity": "error"}


def plan(uow: UnitOfWork, account: Account, *, climb: int, step: str, now: datetime) -> int:
    """Write down the messages of a step, one a contact, with a job for each; how many are new.

    What waits of lower steps, or of a climb that is over, is dropped. "restored" goes to those who were told something.
    """
    lower = _STEPS if step == RESTORED else _STEPS[: _STEPS.index(step)]
    uow.execute(
        "UPDATE token_messages SET state = 'dropped' WHERE account_id = :account AND state = 'waiting'"
        " AND (climb < :climb OR (climb = :climb AND step = ANY(:lower)))",
        account=account.id,
        climb=climb,
        lower=lower,
    )
    if step == RESTORED:
        return _tell(uow, account, _who_was_told(uow, account, climb), climb=climb, step=step, now=now)
    contacts = contacts_of(account)
    if not contacts:
        facts = {"step": step, "error": "there is no contact that can be used", "severity": "error", "others": 0}
        signals.record(uow, FAILED, account.subject, labels=account.labels, facts=facts)
    return _tell(uow, account, contacts, climb=climb, step=step, now=now)


def _tell(
    uow: UnitOfWork, account: Account, contacts: Iterable[Contact], *, climb: int, step: str, now: datetime
) -> int:
    written = write(uow, account.id, contacts, climb=climb, step=step, now=now)
    if written:
        channels = sorted({contact.channel for contact in written})
        generation = uow.execute(
            "SELECT generation FROM token_status WHERE account_id = :account", account=account.id
        ).scalar_one()
        store.record(
            uow, account, "told", by="ladder", now=now, generation=generation, step=step, channels=channels,
            messages=len(written),
        )  # fmt: skip
    return len(written)


def write(
    uow: UnitOfWork, account_id: UUID, contacts: Iterable[Contact], *, climb: int, step: str, now: datetime
) -> list[Contact]:
    """Write a message to each address that has none of this step yet, with its job; to whom."""
    wanted = sorted(set(contacts))
    keys = sorted(str(ids.uuid7(now)) for _ in wanted)
    rows = [{"id": key, "channel": to.channel, "recipient": to.to} for key, to in zip(keys, wanted, strict=True)]
    written = uow.execute(
        "INSERT INTO token_messages (id, account_id, climb, step, channel, recipient, state, created_at)"
        " SELECT r.id, :account, :climb, :step, r.channel, r.recipient, 'waiting', :now"
        " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, channel text, recipient text)"
        " ON CONFLICT ON CONSTRAINT uq_token_messages_once DO NOTHING RETURNING id, channel, recipient",
        account=account_id,
        climb=climb,
        step=step,
        now=now,
        rows=json.dumps(rows),
    ).all()
    submit(uow, [row.id for row in written])
    return [Contact(row.channel, row.recipient) for row in written]


def submit(uow: UnitOfWork, messages: Sequence[UUID], *, after_seconds: float = 0.0) -> None:
    """The jobs that deliver messages, due after so many seconds by the database's clock. Staff's pages go first."""
    due = None
    if after_seconds > 0:
        due = uow.execute("SELECT now() + make_interval(secs => :wait)", wait=after_seconds).scalar_one()
    jobs.submit_many(
        uow,
        [
            jobs.Submission(
                TASK,
                {"message_id": str(message)},
                key=str(message),
                not_before=due,
                priority=Priority.LOW,
                caller="tokens",
            )
            for message in messages
        ],
    )


def _who_was_told(uow: UnitOfWork, account: Account, climb: int) -> list[Contact]:
    """Every address that a message of this climb reached, may have reached, or is on its way to."""
    rows = uow.execute(
        "SELECT DISTINCT channel, recipient FROM token_messages WHERE account_id = :account AND climb = :climb"
        " AND step <> :restored AND (state IN ('sent', 'sending') OR in_doubt)",
        account=account.id,
        climb=climb,
        restored=RESTORED,
    )
    return [Contact(row.channel, row.recipient) for row in rows]


def _contact(written: Mapping[str, Any]) -> Contact:
    return Contact(str(written.get("channel") or ""), str(written.get("to") or ""))


def _of_tenant(tenant: str, catalog: Catalog) -> list[Contact]:
    known = catalog.budgeting.tenants.get(tenant)
    return [] if known is None else [Contact(contact.channel, contact.to or "") for contact in known.contacts]

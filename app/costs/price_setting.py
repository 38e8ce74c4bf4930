"""Prices that people set: for everybody, or for a tenant with terms of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from app import clock, signals
from app.costs import price_store, price_table, unknown_models
from app.costs.price_names import LONGEST
from app.costs.price_store import ALWAYS, BY_HAND, Price, dollars
from app.costs.pricing import MILLION, Rates
from app.errors import Invalid, NotFound, Problem
from app.infra import ids
from app.infra.db import UnitOfWork

LONGEST_NOTE = 500
DEAREST = 1_000_000
"""Dollars for a million tokens."""

_A_MOMENT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A price somebody wants. Without `begins` it counts from now on, and always for a model that has none yet."""

    provider: str
    model: str
    rates: Rates
    by: str
    tenant: str = ""
    begins: datetime | None = None
    ends: datetime | None = None
    note: str = ""


def rate(given: Decimal | str | None, field: str) -> int | None:
    """Dollars for a million tokens as millionths. Raises Invalid."""
    if given is None:
        return None
    try:
        exact = Decimal(given)
    except InvalidOperation:
        exact = Decimal("NaN")
    if not exact.is_finite() or not 0 <= exact <= DEAREST:
        raise Invalid([Problem(field, f"must be dollars for a million tokens, from 0 to {DEAREST}")], subject="price")
    if 0 < exact * MILLION < 1:  # would be rounded to nothing, as where dollars for a single token were meant
        message = "is less than a millionth of a dollar for a million tokens; 0 is free"
        raise Invalid([Problem(field, message)], subject="price")
    return int((exact * MILLION).to_integral_value(ROUND_HALF_EVEN))


def named(text: str) -> tuple[str, str]:
    """Provider and model of PROVIDER/MODEL. Raises Invalid."""
    provider, slash, model = text.partition("/")
    if not slash or not provider.strip() or not model.strip():
        raise Invalid([Problem("model", "must be PROVIDER/MODEL")], subject="price")
    return provider, model


def put(uow: UnitOfWork, wanted: Wanted, now: datetime) -> Price:
    """Let a price count; what counted before it ends there. Raises Invalid for one that would change the past."""
    _check(wanted)
    price_store.take_turns(uow)
    table = price_table.read(uow.session)
    provider, model = table.provider_of(wanted.provider), wanted.model.strip()
    same = [price for price in table.versions if _is_of(price, provider, model)]
    held = [price for price in same if price.tenant == wanted.tenant]
    begins = wanted.begins or (now if table.versions_of(wanted.tenant, provider, model) else ALWAYS)
    in_force = next((price for price in held if price.counts_at(begins)), None)
    if in_force is not None and begins < now - _A_MOMENT:
        message = f"a price counts at that time already, since {_since(in_force)}: the earliest is now"
        raise Invalid([Problem("from", message)], subject="price")
    if any(price.effective_from == begins and price.by_hand for price in held):
        raise Invalid([Problem("from", "a price was set from that very moment")], subject="price")
    replaced = [price.id for price in held if price is in_force or _is_pending(price, begins)]
    price_store.close(uow, replaced, begins)
    everybodys = next((price for price in same if not price.tenant), None)
    made = Price(
        id=ids.uuid7(),
        tenant=wanted.tenant,
        provider=provider,
        model=model if everybodys is None else everybodys.model,
        matches={} if everybodys is None else everybodys.matches,
        effective_from=begins,
        effective_to=_end(wanted, held, begins),
        rates=wanted.rates,
        tiers=(),
        source=BY_HAND,
        set_at=now,
        set_by=wanted.by,
        note=wanted.note,
    )
    price_store.insert(uow, [made])
    _tell(uow, made, "costs.price_set")
    return made


def end(uow: UnitOfWork, provider: str, model: str, now: datetime, *, by: str, tenant: str = "") -> Price:
    """A price that people set counts no longer. Raises NotFound."""
    price_store.take_turns(uow)
    table = price_table.read(uow.session)
    known = table.provider_of(provider)
    for price in table.versions:
        if price.tenant == tenant and price.by_hand and _is_of(price, known, model) and price.counts_at(now):
            price_store.close(uow, [price.id], now)
            ended = replace(price, effective_to=now, set_by=by)
            _tell(uow, ended, "costs.price_ended")
            return ended
    of = f" of {tenant}" if tenant else ""
    raise NotFound(f"no price{of} for {provider}/{model} that was set by hand counts now")


def _tell(uow: UnitOfWork, price: Price, kind: str) -> None:
    facts = {"by": price.set_by, "tenant": price.tenant, "note": price.note, **dollars(price.rates)}
    signals.record(uow, kind, price.name, facts=facts)
    if price.tenant:  # of everybody's the model is forgotten when its calls are priced: app/costs/repricing.py
        unknown_models.forget_priced(uow, price_table.read(uow.session), clock.now(), tenant=price.tenant)
    uow.after_commit(price_table.outdate)


def _is_of(price: Price, provider: str, model: str) -> bool:
    return price.provider == provider and price.model.lower() == model.strip().lower()


def _is_pending(price: Price, begins: datetime) -> bool:
    """An import's price that was to begin later; those that people have planned stay."""
    return price.effective_from >= begins and not price.by_hand


def _end(wanted: Wanted, held: list[Price], begins: datetime) -> datetime | None:
    """It ends where it shall, and where a later one that people have set begins."""
    later = [price.effective_from for price in held if price.by_hand and price.effective_from > begins]
    return min([*later, *([wanted.ends] if wanted.ends else [])], default=None)


def _since(price: Price) -> str:
    return "always" if price.effective_from == ALWAYS else clock.iso(price.effective_from)


def _check(wanted: Wanted) -> None:
    problems = list(_problems(wanted))
    if problems:
        raise Invalid(problems, subject="price")


def _problems(wanted: Wanted) -> Iterator[Problem]:
    for field, text in (("provider", wanted.provider), ("model", wanted.model), ("tenant", wanted.tenant)):
        if (field != "tenant" and not text.strip()) or len(text) > LONGEST or not text.isprintable():
            yield Problem(field, f"must be a line of 1 to {LONGEST} characters")
    if wanted.rates.input is None:
        yield Problem("input", "is missing: dollars for a million tokens")
    if wanted.rates.output is None:
        yield Problem("output", "is missing: dollars for a million tokens; 0 where output is free")
    if len(wanted.note) > LONGEST_NOTE or not wanted.note.isprintable():
        yield Problem("note", f"must be a line of at most {LONGEST_NOTE} characters")
    if wanted.begins is not None and wanted.ends is not None and wanted.ends <= wanted.begins:
        yield Problem("to", "must lie after from")

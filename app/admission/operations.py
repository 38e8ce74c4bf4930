"""Operations of the catalogue as the limiter is asked about them: whose counters, how much, and under which scopes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from app import catalog
from app.catalog import Limiting, Operation, RateLimit, did_you_mean
from app.errors import NotFound
from app.limits import budgets, keys
from app.limits.core import Ask, Counting, Use
from app.limits.plans import Plan
from app.limits.spending import Who


@dataclass(frozen=True, slots=True)
class Known:
    """An operation with its plan. `kinds`: whose counters the plan speaks of, in order; the account is the first."""

    operation: Operation
    plan: Plan
    kinds: tuple[str, ...]

    def subjects(self, account: str, tenant: str) -> tuple[str, ...]:
        """The subjects of a decision; `account` without its platform."""
        named = {
            "account": keys.account(self.operation.platform, account),
            "tenant": keys.tenant(tenant),
            "all": keys.EVERYBODY,
        }
        return tuple(named[kind] for kind in self.kinds)

    def key(self, account: str, request_id: str) -> str:
        """The limiter's id of a decision. The id counts within its account: another account's may be the same."""
        return key_of(self.line(account), request_id)

    def line(self, account: str) -> str:
        """`PLATFORM/ACCOUNT`: whose queue it joins when it has to wait."""
        return keys.account(self.operation.platform, account).removeprefix("account:")


def id_of(one: Known, given: str) -> str:
    """An id as it is kept: that of a call as its record has it, however its letters are written."""
    return given.lower() if one.operation.budgets and _UUID.fullmatch(given) else given


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def key_of(line: str, request_id: str) -> str:
    """The limiter's id of a request. No name has the separator in it, so no two accounts share one."""
    return f"{line}\x1f{request_id}"


def known(name: str) -> Known:
    """The operation of that name. Raises NotFound with a near one, if there is."""
    limiting = catalog.current().limiting
    operation = limiting.operations.get(name)
    if operation is None:
        raise NotFound(f"no operation is named so{did_you_mean(name, limiting.operations)}")
    return _known(limiting)[name]


def every() -> Mapping[str, Known]:
    """All operations of the present catalogue, by name."""
    return _known(catalog.current().limiting)


_kept: tuple[Limiting, Mapping[str, Known]] | None = None


def _known(limiting: Limiting) -> Mapping[str, Known]:
    """Made once for each catalogue."""
    global _kept
    if _kept is None or _kept[0] is not limiting:
        _kept = (
            limiting,
            {name: _compiled(operation, limiting.limits) for name, operation in limiting.operations.items()},
        )
    return _kept[1]


def _compiled(operation: Operation, limits: Mapping[str, RateLimit]) -> Known:
    kinds = ["account"]
    uses = []
    for name, cost in operation.consumes.items():
        limit = limits[name]
        if limit.per not in kinds:
            kinds.append(limit.per)
        ceiling = limit.ceiling(operation.rank)
        uses.append(Use(limit, kinds.index(limit.per), None if cost == "estimate" else cost, ceiling))
    fields = ["all", f"operation:{operation.name}"]
    if operation.platform is not None:
        fields.append(f"platform:{operation.platform}")
    fields += [f"service:{service}" for service in operation.requires]
    plan = Plan(
        operation.name,
        operation.rank,
        uses,
        fields,
        needs_token=operation.requires_token,
        budgeted=operation.budgets,
    )
    return Known(operation, plan, tuple(kinds))


def ask(
    one: Known, *, account: str, who: Who, request_id: str, counting: Counting = Counting.NOW, estimate: int = 0
) -> Ask:
    """The question to the limiter. Names that were given are scopes that may be paused, whatever is counted."""
    if one.operation.budgets:  # one millionth at least: where nothing is left, nothing may be spent
        estimate = max(1, estimate)
    plan, subjects = _whole(one, one.subjects(account, who.tenant), who, estimate)
    return Ask(
        plan=plan,
        key=one.key(account, request_id),
        subjects=subjects,
        scope=keys.tenant(who.tenant),
        counting=counting,
        estimate=estimate,
        lease_seconds=LEASE_SECONDS if spends(one) else 0,
    )


def _whole(one: Known, subjects: tuple[str, ...], who: Who, estimate: int) -> tuple[Plan, tuple[str, ...]]:
    """The plan with the budgets that apply, and whose counters it speaks of."""
    found = list(subjects)
    found += [f"{scope}:{name}" for scope, name in zip(_SCOPES, who[1:5], strict=True) if name]
    if not one.operation.budgets:
        return one.plan, tuple(found)
    uses = []
    for counted in budgets.effective().of(who):
        if counted.subject not in found:
            found.append(counted.subject)
        ceiling = counted.ceiling(one.plan.rank, estimate)
        uses.append(Use(counted.limit, found.index(counted.subject), None, ceiling, tells=False))
    return _with_budgets(one.plan, tuple(uses)), tuple(found)


_SCOPES = ("department", "user", "agent", "skill")
_PLANS_KEPT = 4096
_plans: dict[tuple[Plan, tuple[tuple[int, int, int], ...]], tuple[Plan, tuple[Use, ...]]] = {}


def _with_budgets(plan: Plan, uses: tuple[Use, ...]) -> Plan:
    """Made once for each set of budgets; the uses are kept with it, so that no other limit is known by the same id."""
    key = (plan, tuple((id(use.limit), use.place, use.ceiling) for use in uses))
    known = _plans.get(key)
    if known is None:
        if len(_plans) >= _PLANS_KEPT:
            _plans.clear()
        known = _plans[key] = (plan.with_uses(plan.uses + uses), uses)
    return known[0]


LEASE_SECONDS = 600
"""How long reserved money waits for the report of what was spent; after that it is given back."""


@lru_cache(maxsize=1024)
def _spends(plan: Plan) -> bool:
    return any(use.cost is None for use in plan.uses)


def spends(one: Known) -> bool:
    """Does it reserve money by an estimate?"""
    return one.operation.budgets or _spends(one.plan)

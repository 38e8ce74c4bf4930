"""One file is one way in which a provider tells what it bills; the registry finds it by its being here."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import cast

from app.catalog import Catalog, Provider, did_you_mean
from app.costs.bill_source import BillingModule, PrepaidModule
from app.errors import Problem
from app.infra import plugins


@lru_cache(maxsize=1)
def billings() -> dict[str, BillingModule]:
    """Every way by its name in the catalogue."""
    found = plugins.modules(sys.modules[__name__]).values()
    return {module.BILLING: cast(BillingModule, module) for module in found}


def prepaid(provider: Provider) -> PrepaidModule | None:
    """The file that reads its balance; None of an account that is billed afterwards."""
    module = billings()[provider.billing]
    return cast(PrepaidModule, module) if hasattr(module, "balance") else None


def named_by_calls(provider: Provider) -> tuple[str, ...]:
    """What calls name a provider, in lower case: theirs is not minded."""
    return tuple(name.lower() for name in provider.provider) or billings()[provider.billing].PROVIDERS


def catalog_problems(catalog: Catalog) -> list[Problem]:
    """Ways that nobody knows, and calls that would be compared with two bills."""
    problems, taken = [], dict[str, str]()
    for name, provider in catalog.billing.providers.items():
        if provider.billing not in billings():
            known = ", ".join(billings())
            near = did_you_mean(provider.billing, billings())
            problems.append(Problem(f"providers.{name}.billing", f"is none of {known}{near}"))
            continue
        for called in named_by_calls(provider) if provider.enabled else ():
            other = taken.setdefault(called, name)
            if other != name:
                message = f'calls of "{called}" are compared with the bill of [providers.{other}] already'
                problems.append(Problem(f"providers.{name}.provider", message))
    return problems

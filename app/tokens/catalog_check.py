"""What is wrong with [apps.NAME] beyond its shape: no such platform, permissions that are not of that platform."""

from __future__ import annotations

from collections.abc import Iterator

from app.catalog import App, Catalog, did_you_mean
from app.errors import Problem
from app.tokens.providers import platforms


def catalog_problems(catalog: Catalog) -> list[Problem]:
    """Each with its place: `apps.agency-b.platform`."""
    return [problem for app in catalog.connecting.apps.values() for problem in _of_app(app)]


def _of_app(app: App) -> Iterator[Problem]:
    here = f"apps.{app.name}"
    if app.at not in platforms():
        needed = "is" if app.platform else f"is needed, for {app.name} is"
        yield Problem(
            f"{here}.platform", f"{needed} none of {', '.join(platforms())}{did_you_mean(app.at, platforms())}"
        )
        return
    if any("," in scope or scope.split() != [scope] for scope in app.scopes):
        message = "has one with a blank or a comma: each of them is a text of its own"
        yield Problem(f"{here}.scopes", message)
    for scope in app.scopes:
        owner = _owner(scope, app.at)
        if owner is not None:
            yield Problem(f"{here}.scopes", f"{scope} is a permission of {owner}")


def _owner(scope: str, platform: str) -> str | None:
    """The other platform that this permission is of; plain words ("email", "read") may be anybody's."""
    owners = [name for name, provider in platforms().items() if scope in provider.TRAITS.scopes]
    is_plain = "." not in scope and "_" not in scope
    return None if is_plain or not owners or platform in owners else owners[0]

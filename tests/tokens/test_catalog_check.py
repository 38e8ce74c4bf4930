"""Apps judged before they are taken up: a platform that is none, permissions that nobody can ask for there."""

from __future__ import annotations

import pytest

from app import catalog
from app.errors import Invalid
from app.recovery.checks import CHECKS
from app.tokens.providers import platforms

SERVICE = '\n[services.redis]\nkind = "redis"\n'
KNOWN = ", ".join(platforms())


def problems(app: str) -> list[str]:
    with pytest.raises(Invalid) as found:
        catalog.parse(app + SERVICE, CHECKS)
    return [str(problem) for problem in found.value.problems]


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (
            '[apps.agency-b]\nplatform = "instagrm"',
            f'apps.agency-b.platform (line 2): is none of {KNOWN} (did you mean "instagram"?)',
        ),
        ("[apps.foo]", f"apps.foo.platform (line 1): is needed, for foo is none of {KNOWN}"),
        (
            '[apps.instgram]\nclient_id = "1"',
            f'apps.instgram.platform (line 1): is needed, for instgram is none of {KNOWN} (did you mean "instagram"?)',
        ),
        (
            '[apps.x]\nscopes = ["tweet.read", "users.read tweet.write"]',
            "apps.x.scopes (line 2): has one with a blank or a comma: each of them is a text of its own",
        ),
        (
            '[apps.x]\nscopes = ["tweet.read", "threads_basic"]',
            "apps.x.scopes (line 2): threads_basic is a permission of threads",
        ),
    ],
)
def test_an_app_that_cannot_work_is_told_with_its_place(app: str, said: str) -> None:
    assert problems(app) == [said]


def test_apps_of_any_name_and_permissions_that_several_platforms_have_are_fine() -> None:
    apps = (
        '[apps.agency-b]\nplatform = "instagram"\nscopes = ["instagram_business_basic", "something_new"]',
        '[apps.facebook]\nscopes = ["openid", "email"]',
        '[apps.reddit]\nscopes = ["*"]',
        "[apps.x]",
    )
    assert len(catalog.parse("\n".join(apps) + SERVICE, CHECKS).connecting.apps) == 4

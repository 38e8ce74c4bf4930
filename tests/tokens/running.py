"""Instagram and X on this host, whole again for each test; accounts that are near their end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from app.tokens.store import Held
from tests.tokens.platforms.meta import MetaPlatform
from tests.tokens.platforms.oauth import OAuthPlatform
from tests.tokens.scene import Scene

__all__ = ["instagram", "near_its_end", "running", "x"]


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[MetaPlatform, OAuthPlatform]]:
    with MetaPlatform("instagram") as instagram, OAuthPlatform("x") as x:
        yield instagram, x


@pytest.fixture
def instagram(running: tuple[MetaPlatform, OAuthPlatform], scene: Scene) -> MetaPlatform:
    return _fresh(running, scene)[0]


@pytest.fixture
def x(running: tuple[MetaPlatform, OAuthPlatform], scene: Scene) -> OAuthPlatform:
    return _fresh(running, scene)[1]


def _fresh(running: tuple[MetaPlatform, OAuthPlatform], scene: Scene) -> tuple[MetaPlatform, OAuthPlatform]:
    instagram = running[0]
    for one in running:
        one.heal()
        one.calls.clear()
        one.refreshed.clear()
        one.reused.clear()
    instagram.accept()
    scene.catalogue(*running)
    return running


def near_its_end(scene: Scene, platform: MetaPlatform, days: float = 5.0, *, name: str = "anna") -> Held:
    """An account whose token has so many days left."""
    life = timedelta(days=60)
    return scene.account(platform, name, age=life - timedelta(days=days), life=life)

"""How platforms write their names."""

from __future__ import annotations

_TITLES = {
    "facebook": "Facebook",
    "instagram": "Instagram",
    "linkedin": "LinkedIn",
    "reddit": "Reddit",
    "threads": "Threads",
    "tiktok": "TikTok",
    "x": "X",
}


def title_of(platform: str) -> str:
    """For people: "tiktok" is TikTok."""
    return _TITLES.get(platform, platform)

"""The report of a day as plain text: for a terminal, a mail, a messenger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

Document = Mapping[str, Any]

RESTORED = "restored"
_GOOD = ("refreshed", "connected", "imported", "added", "resumed", "enabled")


def text(document: Document) -> str:
    """All of it that people read: figures, what needs somebody, what went well."""
    trouble = [item for item in document["actions"] if not _is_good(item)]
    good = [item for item in document["actions"] if _is_good(item)]
    zone = document["timezone"]
    parts = [_head(document), *_list("Trouble", trouble, zone), *_list("Done", good, zone)]
    if not document["actions"]:
        parts.append("Nothing was done about any token.")
    if document["more_actions"]:
        parts.append(f"and {document['more_actions']:,} more")
    return "\n\n".join(parts) + "\n"


def title(document: Document) -> str:
    """`Tokens of acme on 2026-11-20`."""
    whose = "all tenants" if document["tenant"] is None else document["tenant"]
    return f"Tokens of {whose} on {document['date']}"


def _head(document: Document) -> str:
    head = f"{title(document)} ({document['timezone']})"
    lines = [head, "=" * len(head)]
    if document["tokens_checked"] is not None:
        status = document["status"]
        lines.append(f"Checked        {document['tokens_checked']:,}")
        lines += [f"{name.replace('_', ' ').capitalize():14} {status[name]:,}" for name in status]
    if document["note"]:
        lines.append(f"{document['note'][:1].upper()}{document['note'][1:]}.")
    return "\n".join(lines)


def _list(heading: str, actions: list[Document], zone: str) -> Iterator[str]:
    if not actions:
        return
    rows = [(_time(item["at"], zone), item["client"], _what(item), _why(item)) for item in actions]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    shown = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in rows]
    yield "\n".join([heading, *(f"  {line}" for line in shown)])


def _is_good(item: Document) -> bool:
    return item["action"] in _GOOD or (item["action"], item.get("alert")) == ("alert client", RESTORED)


def _what(item: Document) -> str:
    said = f"{item['action']}: {item['alert']}" if item.get("alert") else str(item["action"])
    return said if item["times"] == 1 else f"{said} ({item['times']:,} times)"


def _why(item: Document) -> str:
    if "new_expiry" in item:
        return f"good until {item['new_expiry'][:10]}"
    left = item["days_remaining"]
    days = "" if left is None else f"{left:,} day{'' if left == 1 else 's'} left"
    return ", ".join(part for part in (days, item["reason"].replace("_", " ")) if part)


def _time(iso: str, zone: str) -> str:
    return datetime.fromisoformat(iso).astimezone(ZoneInfo(zone)).strftime("%H:%M")

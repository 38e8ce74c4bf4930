"""Fields of what people gave, one by one: taken out, and what is wrong with them collected. No value is quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.catalog import did_you_mean
from app.errors import Invalid, Problem
from app.infra.secret import Secret
from app.infra.text import storable
from app.tokens.provider import LONGEST_TOKEN
from app.tokens.providers import platforms

SECRETS = ("access_token", "refresh_token")
LONGEST = 200
MOST_SCOPES = 100
MOST_UNKNOWN = 20

_NAME = re.compile(r"[a-z]{1,15}(_[a-z]{1,15}){0,3}")
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_TOKEN}}}")
_SCOPE = re.compile(r"[\x21-\x7e]{1,200}")
_BLANK = re.compile(r"[\s,]+")
_CONTACT = re.compile(r"[;\n]")


def hidden(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same with every token a Secret: the first thing that is done to what came in."""
    return {
        name: Secret(value) if name in SECRETS and isinstance(value, str) else value for name, value in given.items()
    }


class Reading:
    """Takes fields out of one input, and collects what is wrong with them."""

    def __init__(self, given: Mapping[str, Any], known: Iterable[str]) -> None:
        self.problems: list[Problem] = []
        self._given = hidden(given)
        unknown = sorted(self._given.keys() - set(known))
        for field in unknown[:MOST_UNKNOWN]:
            meant = did_you_mean(field, known)
            if _NAME.fullmatch(field):
                self.wrong(field, f"is not known{meant}")
            else:
                self.wrong("?", f"is a name that is not known{meant}")  # it may be a token in a wrong place
        if len(unknown) > MOST_UNKNOWN:
            self.wrong("?", f"and {len(unknown) - MOST_UNKNOWN} more that are not known")

    def wrong(self, field: str, message: str) -> None:
        """Note that a field is wrong."""
        self.problems.append(Problem(field, message))

    def is_wrong(self, field: str) -> bool:
        """Was something said about it already?"""
        return any(problem.field == field for problem in self.problems)

    def conclude(self, subject: str) -> None:
        """Raise Invalid where anything was wrong."""
        if self.problems:
            raise Invalid(self.problems, subject=subject)

    def value(self, field: str) -> Any:
        """As it came; a text that is empty counts as not given."""
        value = self._given.get(field)
        value = value.strip() if isinstance(value, str) else value
        return None if value == "" else value

    def has(self, field: str) -> bool:
        """Was it given at all?"""
        value = self.value(field)
        return value is not None and not (isinstance(value, Secret) and not value)

    def text(self, field: str, *, required: bool = False, most: int = LONGEST) -> str | None:
        """One line."""
        value = self.value(field)
        if value is None:
            if required:
                self.wrong(field, "is needed")
            return None
        if not isinstance(value, str):
            self.wrong(field, "must be a text")
        elif len(value) > most:
            self.wrong(field, f"must be at most {most} characters long")
        elif storable(value) != value or any(ord(letter) < 32 or letter in "\x7f\x85\u2028\u2029" for letter in value):
            self.wrong(field, "must be one line of text without control characters")
        else:
            return value
        return None

    def tenant(self) -> str:
        """A client's name, as calls and operations name it."""
        return self._name("tenant")

    def account(self) -> str:
        """The platform's id of it, which is part of paths."""
        number = self._given.get("account")
        if isinstance(number, int) and not isinstance(number, bool):
            self._given["account"] = str(number)
        found = self._name("account")
        if "/" in found or any(letter.isspace() for letter in found) or found in (".", ".."):
            self.wrong("account", "must be the platform's id of it, without blanks and slashes")
        return found

    def _name(self, field: str) -> str:
        found = self.text(field, required=True) or ""
        if found and not found.isprintable():
            self.wrong(field, "must be printable text")
        return found

    def platform(self) -> str:
        """One whose tokens are kept."""
        found = self.text("platform", required=True) or ""
        if found and found not in platforms():
            self.wrong("platform", f"is none of {', '.join(platforms())}{did_you_mean(found, platforms())}")
            return ""
        return found

    def secret(self, field: str) -> Secret | None:
        """A token, which nobody gets to see."""
        value = self.value(field)
        if value is None:
            return None
        if not isinstance(value, Secret):
            self.wrong(field, "must be a text")
            return None
        clean = Secret(value.reveal().strip())
        if not clean:
            return None
        if len(clean) > LONGEST_TOKEN:
            self.wrong(field, f"must be at most {LONGEST_TOKEN} characters long")
        elif _TOKEN.fullmatch(clean.reveal()) is None:
            self.wrong(field, "must be visible ASCII characters without blanks")
        elif clean.reveal().startswith(("{", "[", '"', "'", "<")):
            self.wrong(field, "must be the token alone, without quotes or JSON around it")
        else:
            return clean
        return None

    def scopes(self) -> tuple[str, ...]:
        """Names separated by blanks or commas, or a list of them."""
        value = self.value("scopes")
        if value is None:
            return ()
        names = _BLANK.split(value) if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or len(names) > MOST_SCOPES:
            self.wrong("scopes", f"must be at most {MOST_SCOPES} names, separated by blanks")
            return ()
        if not all(isinstance(name, str) and (name == "" or _SCOPE.fullmatch(name)) for name in names):
            self.wrong("scopes", "must be names without blanks, of visible ASCII characters")
            return ()
        return tuple(dict.fromkeys(name for name in names if name))

    def contacts(self) -> list[tuple[str, object]]:
        """Each with its place: a list of them, or `CHANNEL:ADDRESS; CHANNEL:ADDRESS`."""
        value = self.value("contacts")
        if value is None:
            return []
        if isinstance(value, str):
            return [("contacts", _contact(part)) for part in _CONTACT.split(value) if part.strip()]
        if isinstance(value, list | tuple):
            return [
                (f"contacts.{place}", _contact(one) if isinstance(one, str) else one)
                for place, one in enumerate(value)
            ]  # fmt: skip
        self.wrong("contacts", 'must be a list of {"channel": NAME, "to": ADDRESS}')
        return []


def _contact(written: str) -> dict[str, str]:
    channel, _, to = written.strip().partition(":")
    return {"channel": channel.strip(), **({"to": to.strip()} if to.strip() else {})}

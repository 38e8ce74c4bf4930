"""Label matchers as Prometheus and Alertmanager write them: `severity="critical"`, `team!~"a|b"`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

import re2

from app.errors import Invalid, Problem

_SPACE = " \t\n\f\r"
_PARTS = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*|"(?:\\.|[^"\\])*")[ \t\n\f\r]*(?P<operator>=~|!~|!=|=)', re.S)
_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.S)
_BARE = re.compile(r'((?:\\.|[^"\\])*\\?)', re.S)
_PIECE = re.compile(r'(?:"(?:\\.|[^"\\])*(?:"|\\?\Z)|\\.|[^,\\"]|\\)*', re.S)
_ESCAPED = re.compile(r'\\([\\"n])')
_MEANT = {"\\": "\\", '"': '"', "n": "\n"}
_REGEX_BYTES = 8 << 20
"""What one compiled expression may take, RE2's own default; it refuses what needs more."""


class Written(TypedDict, total=False):
    """A matcher in Alertmanager's JSON; `isEqual` is true when it is missing."""

    name: str
    value: str
    isRegex: bool
    isEqual: bool


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. A regular expression (RE2's) must match the whole value.

    Raises Invalid when the name is empty or the expression is none.
    """

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def __post_init__(self) -> None:
        if not self.name:
            raise _invalid("name", "must not be empty")
        if self.is_regex:
            compiled(self.value)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Does it hold? A label that is not there is the empty string."""
        return self.holds(labels.get(self.name, ""))

    def holds(self, value: str) -> bool:
        """Does it hold for this value of its label?"""
        same = compiled(self.value).fullmatch(as_bytes(value)) is not None if self.is_regex else self.value == value
        return same is self.is_equal

    def __str__(self) -> str:
        name = self.name if _PLAIN_NAME.fullmatch(self.name) else _quoted(self.name)
        operator = ("=~" if self.is_equal else "!~") if self.is_regex else ("=" if self.is_equal else "!=")
        return f"{name}{operator}{_quoted(self.value)}"

    def as_dict(self) -> Written:
        """Alertmanager's JSON."""
        return {"name": self.name, "value": self.value, "isRegex": self.is_regex, "isEqual": self.is_equal}

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Matcher:
        """Alertmanager's JSON, back. Raises Invalid with the field that is missing or wrong."""
        problems = [
            Problem(key, "must be a text") for key in ("name", "value") if not isinstance(written.get(key), str)
        ]
        is_regex, is_equal = written.get("isRegex", False), written.get("isEqual", True)
        problems += [
            Problem(key, "must be true or false")
            for key, flag in (("isRegex", is_regex), ("isEqual", is_equal))
            if not isinstance(flag, bool)
        ]
        if problems:
            raise Invalid(problems, subject="matcher")
        return cls(written["name"], written["value"], is_regex, is_equal)


@lru_cache(maxsize=4096)
def parse(text: str) -> Matcher:
    """One matcher; quotes around its value may be left out, as amtool's users do. Raises Invalid."""
    stripped = text.strip(_SPACE)
    parts = _PARTS.match(stripped)
    if parts is None:
        raise _invalid("", f'is no matcher, such as severity="critical": {shown(text)}')
    name, operator = parts["name"], parts["operator"]
    if name.startswith('"'):
        name = _unescaped(name[1:-1])
    value = _value(stripped[parts.end() :].strip(_SPACE))
    return Matcher(name, value, is_regex=operator.endswith("~"), is_equal=operator.startswith("="))


def parse_all(text: str) -> tuple[Matcher, ...]:
    """Matchers with commas between them, in braces or without: `{a="b", c!~"d"}`. Raises Invalid with each bad one."""
    found: list[Matcher] = []
    problems: list[Problem] = []
    for piece in _pieces(text.strip(_SPACE)):
        try:
            found.append(parse(piece))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(problems, subject="matchers")
    return tuple(found)


def joined(matchers: Iterable[Matcher]) -> str:
    """All of them as `parse_all` reads them: `{a="b",c!~"d"}`."""
    return f"{{{','.join(map(str, matchers))}}}"


def matches_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Do all of them hold? The plain way; see app.alerts.matching for many at once."""
    return all(matcher.matches(labels) for matcher in matchers)


def matches_empty(matchers: Iterable[Matcher]) -> bool:
    """Would they hold for an alert without any of these labels? A silence like that silences what nobody meant."""
    return all(matcher.holds("") for matcher in matchers)


def as_bytes(text: str) -> bytes:
    """UTF-8, and half a surrogate pair as if it were a character: no text from outside raises here."""
    return text.encode("utf-8", "surrogatepass")


def regex_options() -> re2.Options:
    """Silent, without groups, bounded in memory."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _REGEX_BYTES
    return options


@lru_cache(maxsize=2048)
def compiled(pattern: str) -> Any:
    """The expression, matching in linear time. Raises Invalid."""
    try:
        return re2.compile(as_bytes(pattern), regex_options())
    except re2.error as error:
        reason = b"".join(error.args).decode("utf-8", "replace")
        raise _invalid("value", f"is no regular expression: {reason}") from None


def shown(text: str) -> str:
    """At most 100 characters of it, for an error."""
    return repr(text if len(text) <= 100 else text[:99] + "…")


def _value(raw: str) -> str:
    if raw.startswith('"'):
        found = _QUOTED.fullmatch(raw)
        if found is None:
            raise _invalid("", f"the value must end with its only bare quote: {shown(raw)}")
    else:
        found = _BARE.fullmatch(raw)
        if found is None:
            raise _invalid("", f'a quote within the value must be written \\": {shown(raw)}')
    return _unescaped(found[1])


def _pieces(text: str) -> Iterator[str]:
    """What stands between commas that are in no quotes; a last comma may follow the last matcher."""
    if text.startswith("{"):
        text = text[1:].removesuffix("}").strip(_SPACE)
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        assert piece is not None  # noqa: S101 - it also matches nothing
        yield piece.group()
        at = piece.end() + 1


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _unescaped(text: str) -> str:
    """OpenMetrics' escapes; a backslash before anything else is a backslash."""
    return _ESCAPED.sub(lambda found: _MEANT[found[1]], text)


def _invalid(field: str, message: str) -> Invalid:
    return Invalid([Problem(field, message)], subject="matcher")

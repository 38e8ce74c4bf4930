"""Where in a TOML text each key stands. `tomllib` tells no lines; this reads a text that it already found valid."""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.S),
    re.compile(r"'''.*?'{3,5}", re.S),
    re.compile(r'"(?:\\.|[^"\\])*"'),
    re.compile(r"'[^']*'"),
)


class Lines:
    """The line of every key of one text, counted from 1."""

    def __init__(self, text: str) -> None:
        self._known = _Scanner(text).scan()

    def of(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest table around it that has one."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._known:
                return self._known[path[:length]]
        return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.known: dict[Path, int] = {}
        self.tables: dict[Path, int] = {}
        self._counted_to = 0
        self._line = 1

    def scan(self) -> dict[Path, int]:
        prefix: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self._peek("["):
                prefix = self._header()
            else:
                self._pair(prefix)
            self._skip(_BLANK)
        return self.known

    def _header(self) -> Path:
        many = self._peek("[[")
        line = self._line_here()
        self.at += 2 if many else 1
        prefix = self._resolve(self._key())
        self.at += 2 if many else 1
        if many:
            place = self.tables.get(prefix, -1) + 1
            self.tables[prefix] = place
            prefix = (*prefix, place)
        self._note(prefix, line)
        return prefix

    def _resolve(self, key: Path) -> Path:
        """`a.b` below `[[a]]` means the last table of `a`."""
        path: Path = ()
        for name in key[:-1]:
            path = (*path, name)
            if path in self.tables:
                path = (*path, self.tables[path])
        return (*path, key[-1])

    def _pair(self, prefix: Path) -> None:
        line = self._line_here()
        path = (*prefix, *self._key())
        self.at += 1  # the equals sign
        self._note(path, line)
        self._value(path)

    def _key(self) -> Path:
        names: list[str] = []
        while True:
            self._skip(_SPACE)
            if self.text[self.at] in "\"'":
                quoted = self._take(_STRINGS[2] if self._peek('"') else _STRINGS[3])
                names.append(str(tomllib.loads(f"k = {quoted}")["k"]))
            else:
                names.append(self._take(_BARE_KEY))
            self._skip(_SPACE)
            if not self._peek("."):
                return tuple(names)
            self.at += 1

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        if self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline_table(path)
        else:
            for pattern in _STRINGS:
                if pattern.match(self.text, self.at):
                    self._take(pattern)
                    return
            self._take(_SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        place = 0
        self._skip(_BLANK)
        while not self._peek("]"):
            self._note((*path, place), self._line_here())
            self._value((*path, place))
            place += 1
            self._skip_comma()
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        self._skip(_BLANK)
        while not self._peek("}"):
            self._pair(path)
            self._skip_comma()
        self.at += 1

    def _skip_comma(self) -> None:
        self._skip(_BLANK)
        if self._peek(","):
            self.at += 1
            self._skip(_BLANK)

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.known.setdefault(path[:length], line)
        self.known[path] = line

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line

    def _peek(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None or not found.group():
            raise ValueError(f"unexpected text on line {self._line_here()}")
        self.at = found.end()
        return found.group()

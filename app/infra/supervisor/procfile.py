"""The Procfile: one process a line, `name: command`, with `{run}` for home/run and `$NAME` from the
environment (`$$` is a dollar)."""

from __future__ import annotations

import re
import shlex
import shutil
import string
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import Misconfigured

_LINE = re.compile(r"^(?P<name>[a-z][a-z0-9-]*):\s*(?P<command>\S.*)$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: the process's name and its arguments, not yet substituted."""

    name: str
    words: tuple[str, ...]

    def arguments(self, *, environment: Mapping[str, str], run: Path) -> list[str]:
        """The command to execute. Raises Misconfigured when it speaks of an unset variable."""
        try:
            words = [string.Template(word.replace("{run}", str(run))).substitute(environment) for word in self.words]
        except (KeyError, ValueError) as error:
            raise Misconfigured(f"Procfile: {self.name}: unset or unreadable variable {error}") from None
        if words[0] == "python":
            words[0] = sys.executable
        return words


def load(path: Path) -> list[Entry]:
    """The entries of a Procfile in its order. Raises Misconfigured naming the line that is wrong."""
    try:
        return parse(path.read_text())
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}") from None


def parse(text: str) -> list[Entry]:
    """`load` of a text."""
    entries: dict[str, Entry] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.match(line)
        if found is None:
            raise Misconfigured(f"Procfile, line {number}: expected `name: command`, got {line!r}")
        name = found["name"]
        if name in entries:
            raise Misconfigured(f"Procfile, line {number}: a second process named {name}")
        try:
            entries[name] = Entry(name, tuple(shlex.split(found["command"])))
        except ValueError as error:
            raise Misconfigured(f"Procfile, line {number}: {error}") from None
    return list(entries.values())


def select(entries: Sequence[Entry], *, only: Iterable[str] = (), but: Iterable[str] = ()) -> list[Entry]:
    """Those named by `only` (all when empty) but not by `but`. Raises Misconfigured for a wrong name."""
    known = [entry.name for entry in entries]
    only, but = list(only), list(but)
    for name in (*only, *but):
        if name not in known:
            raise Misconfigured(f"no process named {name!r} in the Procfile; there are {', '.join(known)}")
    chosen = [entry for entry in entries if (not only or entry.name in only) and entry.name not in but]
    if not chosen:
        raise Misconfigured("nothing left to run")
    return chosen


def search_path(environment: Mapping[str, str]) -> str:
    """PATH with our interpreter's programs first."""
    return f"{Path(sys.executable).parent}:{environment.get('PATH', '/usr/bin:/bin')}"


def require_program(entry: Entry, arguments: Sequence[str], *, path: str) -> None:
    """Raise Misconfigured when the program is not installed: restarting would not help."""
    if shutil.which(arguments[0], path=path) is None:
        raise Misconfigured(f"Procfile: {entry.name}: no program named {arguments[0]} in {path}")

"""Text that others wrote, made fit to be sent: cleaned, shortened to a limit, escaped for where it goes. Pure.

Limits are counted in UTF-16 units or bytes: no service counts stricter than that. What is cut is cut before it is
escaped, so that a cut never lies inside an escaped character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

Escape = Callable[[str], str]
Measure = Callable[[str], int]

ELLIPSIS = "…"
_LEAST = 16
"""Less room than this is not worth a beginning of a text."""

_BREAKS = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
# C0 and C1 controls; overrides, embeddings and isolates of direction (what they enclose stays, and so do the marks that
# right-to-left text is written with); the byte order mark and what Unicode calls no characters.
_REMOVED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_JOINERS = "\u200d\ufe0f"
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
_MRKDWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_MARKDOWN = re.compile(r"[\\*_~`|<>\[\]()#]|(?:(?<=^)|(?<=\n))( *\d*)([-+.])")
_IN_URL = ";/?:@&=+$,!*[]-._~#%"


def clean(text: str) -> str:
    """Without control characters (line ends stay, tabs become spaces), without changes of direction, valid Unicode."""
    broken = _BREAKS.sub("\n", text).replace("\t", " ")
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", _REMOVED.sub("", broken))


def one_line(text: str) -> str:
    """Clean, and all of it on one line."""
    return " ".join(clean(text).split())


def utf16_units(text: str) -> int:
    """Its length as JavaScript and Java count: characters beyond U+FFFF are two."""
    return len(text) + sum(character > "\uffff" for character in text)


def utf8_bytes(text: str) -> int:
    """Its length on the wire."""
    return len(text.encode("utf-8"))


def as_is(text: str) -> str:
    """For where nothing is escaped."""
    return text


def html(text: str) -> str:
    """For HTML, in text and in quoted attributes; with the four entities that Telegram knows, too."""
    return text.translate(_HTML)


def mrkdwn(text: str) -> str:
    """For Slack's mrkdwn: no link, mention or command comes out of it."""
    return text.translate(_MRKDWN)


def markdown(text: str) -> str:
    """For Markdown: everything that would format is shown as it is."""
    return _MARKDOWN.sub(lambda found: f"{found[1]}\\{found[2]}" if found[2] else f"\\{found[0]}", text)


def fit(text: str, limit: int, *, escape: Escape = as_is, measure: Measure = utf16_units) -> str:
    """The escaped text; its longest beginning and an ellipsis where the whole is longer than `limit` as measured.

    Of a limit that has no room for the ellipsis either, nothing is left.
    """
    if len(text) <= limit and measure(escape(text)) <= limit:
        return escape(text)
    room = limit - measure(escape(ELLIPSIS))
    if room < 0:
        return ""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(escape(text[:middle])) <= room else (low, middle - 1)
    return escape(text[:low].rstrip().rstrip(_JOINERS)) + escape(ELLIPSIS)


def short_text(text: str, longest: int) -> str:
    """The text clean, without space around it, and at most `longest`."""
    return fit(clean(_beginning(text, longest)).strip(), longest)


def short_line(text: str, longest: int) -> str:
    """The text clean, on one line, and at most `longest`."""
    return fit(one_line(_beginning(text, longest)), longest)


def _beginning(text: str, longest: int) -> str:
    """Enough to fill `longest` even when much of it is cleaned away: the rest of a huge text is not looked at."""
    enough = 8 * longest
    return text if len(text) <= enough else f"{text[:enough]}{ELLIPSIS}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: what it says, not yet escaped, between what is written around it as it is."""

    text: str
    before: str = ""
    after: str = ""


def joined(pieces: Iterable[Piece], limit: int, *, escape: Escape = as_is, measure: Measure = utf16_units) -> str:
    """The pieces one after another within `limit`: the first that does not fit is shortened, and the last."""
    done = ""
    for piece in pieces:
        left = limit - measure(done) - measure(piece.before) - measure(piece.after)
        whole = escape(piece.text) if len(piece.text) <= left else None
        if whole is not None and measure(whole) <= left:
            done += f"{piece.before}{whole}{piece.after}"
            continue
        if left >= _LEAST:
            done += f"{piece.before}{fit(piece.text, left, escape=escape, measure=measure)}{piece.after}"
        break
    return done.lstrip("\n")


def web_address(text: str, *, longest: int = 1000) -> str | None:
    """An http(s) address in ASCII that can stand inside any markup; None for what is none, or is longer."""
    if len(text) > 2 * longest:
        return None
    bare = _SURROGATES.sub("", _REMOVED.sub("", text)).strip()
    try:
        parts = urlsplit(bare)
        plain = quote(bare, safe=_IN_URL)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc or len(plain) > longest:
        return None
    return plain

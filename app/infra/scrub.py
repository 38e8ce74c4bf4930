"""Secrets out of text and values, by the names they stand under and by the shapes they have. Pure.

What is masked: values under names such as `password` or `access_token` (in mappings, JSON, query strings, headers,
`name=value`), passwords inside URLs, Bearer and Basic credentials, PEM blocks, webhook addresses that are secrets
themselves, well-known token shapes, and API keys of our own. Too much is masked rather than too little.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from uuid import UUID

MASK = "***"
MAX_TEXT = 65_536
"""Characters looked at in one text; the rest is cut off, so that scrubbing is never the slow part."""
MAX_DEPTH = 8
MAX_ITEMS = 1000

_EXACT = frozenset(
    {"password", "passwd", "pwd", "passphrase", "secret", "token", "jwt", "bearer", "signature", "sig", "code", "pin"}
    | {"authorization", "proxy_authorization", "cookie", "set_cookie", "session_id", "sessionid", "otp", "totp"}
    | {"api_key", "apikey", "x_api_key", "private_key", "access_key", "admin_key", "routing_key", "integration_key"}
    | {"credential", "credentials", "client_assertion", "code_verifier"}
)
_ENDINGS = tuple(
    {"_password", "_passwd", "_passphrase", "_secret", "_token", "_signature", "_cookie", "_credentials"}
    | {"_api_key", "_apikey", "_private_key", "_access_key", "_secret_key", "_admin_key"}
    | {"_encryption_key", "_signing_key"}
)

# Names that stand for a secret wherever they end, with or without a prefix ("DB_PASSWORD", "fb_exchange_token").
_CERTAIN = (
    r"(?:password|passwd|passphrase|pwd|client[_-]?secret|app[_-]?secret|api[_-]?key|secret[_-]?key|private[_-]?key"
    r"|access[_-]?key|admin[_-]?key|signing[_-]?key|encryption[_-]?key|routing[_-]?key|(?:access|refresh|exchange|bearer"
    r"|auth|session|id)[_-]?token|proxy-authorization|authorization|code[_-]verifier|client[_-]assertion)"
)
# Names that are also ordinary words: masked where the text is plainly a name and its value.
_LIKELY = r"(?:token|secret|signature|credentials?|set-cookie|cookie|session[_-]?id|jwt)"
_SHORT = r"(?:(?<![A-Za-z0-9_])(?:sig|otp|totp)|(?<=[?&])code)"
_NAME = rf"(?:{_CERTAIN}|{_LIKELY}|{_SHORT})"
_KEPT = r"(?!(?:None|null|True|False|true|false)(?![\w.~+/-]))"
_BARE = r"(?:(?!%26|%22)[^\s&\"'<>#])+"
_ASSIGNED = rf"({_NAME}\\*[\"']?\s{{0,3}}(?:={{1,2}}|%3D|:)\s{{0,3}}[bru]?)"
_IN_QUOTES = r"(?P<q>[\"'])(?:\\.|(?!(?P=q))[^\\])*"
_IN_ESCAPED_QUOTES = r"(?P<q>\\+[\"'])(?:(?!(?<!\\)(?P=q)).)*"

_PORT = r"\d{0,5}(?:[/?#\s\"'<>,;)\]]|\Z)"
_PROSE_AFTER_BEARER = r"(?!(?:tokens?|auth|authentication|authorization|credentials?|scheme|header)\b)"

_PLAIN_NAME = re.compile(r"[a-z_]{1,40}")

_Replace = Callable[[re.Match[str]], str]


def _keep_first(match: re.Match[str]) -> str:
    return f"{match.group(1)}{MASK}"


def _keep_quotes(match: re.Match[str]) -> str:
    return f"{match.group(1)}{match.group('q')}{MASK}"


def _basic(match: re.Match[str]) -> str:
    """Mask what decodes to `user:password`; "Basic authentication" is prose."""
    value = match.group(2)
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_")
    except (binascii.Error, ValueError):
        return match.group(0)
    return _keep_first(match) if b":" in decoded else match.group(0)


_RULES: tuple[tuple[re.Pattern[str], _Replace], ...] = (
    (re.compile(r"(-----BEGIN [A-Z0-9 ]{1,40}-----).*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.S), _keep_first),
    (re.compile(r"(\[parameters: )[^\n]*"), _keep_first),
    (re.compile(rf"((?:://|%3A%2F%2F)[^\s/:@\[\]\"'<>]*:)(?!{_PORT})[^\s\"'<>]{{0,512}}(?=@)", re.I), _keep_first),
    (re.compile(r"(\bhttps?://)[^\s/:@?#\[\]\"'<>]+(?=@)", re.I), _keep_first),
    (
        re.compile(
            r"(hooks\.slack\.com/|discord(?:app)?\.com/api/(?:v\d+/)?webhooks/|webhook\.office\.com/"
            r"|logic\.azure\.com(?::\d+)?/|powerplatform\.com(?::\d+)?/)[^\s\"'<>]+",
            re.I,
        ),
        _keep_first,
    ),
    (re.compile(r"(/bot\d{1,20}:)[A-Za-z0-9_-]+"), _keep_first),
    (re.compile(r"((?<!\d)\d{8,12}:)[A-Za-z0-9_-]{30,}"), _keep_first),
    (re.compile(_ASSIGNED + _IN_QUOTES, re.I | re.S), _keep_quotes),
    (re.compile(_ASSIGNED + _IN_ESCAPED_QUOTES, re.I | re.S), _keep_quotes),
    (re.compile(rf"(\(\s?b?[\"'][\w-]{{0,40}}?{_NAME}[\"'],\s{{0,3}}b?){_IN_QUOTES}", re.I | re.S), _keep_quotes),
    (re.compile(r"((?:authorization|cookie)[ \t]{0,3}:[ \t]{0,3})(?![\"'\\])[^\r\n\"']+", re.I), _keep_first),
    (re.compile(rf"({_NAME}\s{{0,3}}(?:={{1,2}}|%3D)\s{{0,3}}){_KEPT}{_BARE}", re.I), _keep_first),
    (re.compile(rf"((?<![A-Za-z0-9_-])code=){_KEPT}[^\s&\"'<>#]{{16,}}", re.I), _keep_first),
    (re.compile(rf"({_CERTAIN}\\*[\"']?[ ]{{0,3}}:[ ]{{0,3}}){_KEPT}(?![\[{{\\])[^\s\"'<>,}}]+", re.I), _keep_first),
    (re.compile(rf"({_LIKELY}[ ]?:[ ]?)(?=[^\s\"'<>]{{0,64}}(?-i:[A-Z0-9]))[^\s\"'<>,]{{16,}}", re.I), _keep_first),
    (re.compile(rf"(\bBearer\s{{1,3}}){_PROSE_AFTER_BEARER}[A-Za-z0-9._~+/=-]{{8,}}", re.I), _keep_first),
    (re.compile(r"(\bBasic\s{1,3})([A-Za-z0-9+/_-]{6,}={0,2})", re.I), _basic),
    (
        re.compile(
            r"()(?<![\w-])(?:eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|sk-[A-Za-z0-9_-]{16,}|xox[a-z]-[A-Za-z0-9-]{10,}"
            r"|xapp-[A-Za-z0-9-]{10,}|gh[pousr]_[A-Za-z0-9]{20,}|EAA[A-Za-z0-9]{28,}|IG[A-Z]{1,3}[A-Za-z0-9_-]{40,}"
            r"|(?:TH[AQ][A-Z]|AQ)(?=[A-Za-z_-]{0,120}\d)(?=[A-Z0-9_-]{0,120}[a-z])[A-Za-z0-9_-]{40,}"
            r"|AKIA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,})"
        ),
        _keep_first,
    ),
    # TikTok's two kinds; X's end with ":1:at:1" or ":1:rt:1" in base64, at any of three places within a group.
    (re.compile(r"((?<![\w.-])(?:act|rft)\.)(?=[A-Za-z!._*-]{0,60}\d)[A-Za-z0-9!._*-]{24,}"), _keep_first),
    (
        re.compile(r"()(?<![\w-])[A-Za-z0-9_-]{40,}(?:OmF0OjE|phdDox|6YXQ6MQ|OnJ0OjE|pydDox|6cnQ6MQ)(?![\w-])=*"),
        _keep_first,
    ),
    # A key of ours is random; names of metrics ("smm_task_duration_seconds_bucket") are lower case without digits.
    (re.compile(r"(\bsmm_)(?=[a-z_]*[A-Z0-9-])[A-Za-z0-9_-]{24,}"), _keep_first),
)


# Every rule needs one of these in the lower-cased text: most records pass with one look instead of one per rule.
_HINT = re.compile(
    r"://|%3a|@|pass|pwd|secret|token|key|cookie|credential|signature|session|jwt|sig|otp|code|verifier|assertion"
    r"|auth|bearer|basic|-----begin|\[param|/bot|slack|discord|office|azure|powerplatform|eyj|sk-|xox|xapp|gh._|eaa"
    r"|ig[a-z]{1,3}[a-z0-9_-]{40}|th[aq][a-z][a-z0-9_-]{40}|aq[a-z0-9_-]{40}|act\.|rft\."
    r"|omf0oje|phddox|6yxq6mq|onj0oje|pyddox|6cnq6mq|akia|aiza|smm_|\d{8}:"
)


def scrub_text(text: str) -> str:
    """`text` with every secret masked; cut at MAX_TEXT characters. Idempotent for what is not cut."""
    cut = len(text) - MAX_TEXT
    if cut > 0:
        text = text[:MAX_TEXT]
    elif _HINT.search(text.lower()) is None:
        return text
    for pattern, replace in _RULES:
        text = pattern.sub(replace, text)
    return f"{text[: MAX_TEXT - 64]} [{cut} characters cut]" if cut > 0 else text


def scrub(value: object) -> object:
    """`value` made of plain dicts, lists, tuples, texts, numbers and times only, every secret in it masked.

    Values that are none of these become their `repr`, scrubbed; nesting deeper than MAX_DEPTH is left out.
    """
    return _scrub(value, MAX_DEPTH)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Does a value under this name ("X-API-Key", "accessToken", "DB_PASSWORD") have to be hidden?"""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", words).strip("_")
    return plain in _EXACT or plain.endswith(_ENDINGS)


def _scrub(value: object, depth: int) -> object:
    match value:
        case Mapping() | list() | tuple() | set() | frozenset() if depth <= 0:
            return "[...]"
        case Mapping():
            return {_key(key): _item(key, inner, depth) for key, inner in list(value.items())[:MAX_ITEMS]}
        case tuple():
            return _pair(value) if _is_header(value) else tuple(_scrub(inner, depth - 1) for inner in value[:MAX_ITEMS])
        case list() | set() | frozenset():
            return [_scrub(inner, depth - 1) for inner in list(value)[:MAX_ITEMS]]
        case _:
            return _atom(value)


def _atom(value: object) -> object:
    match value:
        case Enum():
            return _atom(value.value)
        case str():
            return scrub_text(value)
        case bytes() | bytearray():
            return scrub_text(bytes(value[:MAX_TEXT]).decode("utf-8", "replace"))
        case None | bool() | int() | float() | datetime() | date() | timedelta() | Decimal() | UUID() | PurePath():
            return value
        case _:
            return _described(value)


def _name(key: object) -> str | None:
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return key if isinstance(key, str) else None


def _key(key: object) -> object:
    if isinstance(key, str) and _PLAIN_NAME.fullmatch(key):
        return key
    return key if key is None or isinstance(key, bool | int | float) else scrub_text(_name(key) or _described(key))


def _item(key: object, value: object, depth: int) -> object:
    """`value` as it may be shown under `key`. A number under "code" is a status, not a login code."""
    name = _name(key)
    if name is None or value is None or isinstance(value, bool) or not is_secret_name(name[-200:]):
        return _scrub(value, depth - 1)
    if isinstance(value, int | float) and name.lower() in ("code", "pin"):
        return value
    return MASK


def _is_header(value: tuple[object, ...]) -> bool:
    return len(value) == 2 and isinstance(value[1], str | bytes) and is_secret_name((_name(value[0]) or "")[-200:])


def _pair(value: tuple[object, ...]) -> tuple[object, ...]:
    return (_scrub(value[0], 1), MASK)


def _described(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # a record must not be lost to somebody's __repr__
        text = f"<{type(value).__name__}: repr failed with {type(error).__name__}>"
    return scrub_text(text)

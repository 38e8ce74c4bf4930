"""An e-mail, plain and HTML, handed to one mail server.

All of a thread refer to one Message-ID that no message has, as if to a letter that was lost: mail programs then show
them together, whichever of them arrives. A notification's own Message-ID is the same at each try.
"""

from __future__ import annotations

import hashlib
import re
from email.message import EmailMessage
from email.message import Message as MimePart
from email.policy import SMTP
from email.utils import format_datetime, formataddr, parseaddr
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from app.config import settings
from app.errors import Misconfigured
from app.notify import smtp
from app.notify.channel import Options as BaseOptions
from app.notify.channel import Rate
from app.notify.content import Content, content_of, flow, severity_of, standing_lines
from app.notify.message import Delivery, Event, Message, Outcome
from app.notify.text import Piece, fit, html, joined, one_line

KIND = "email"
SUMMARY = "an e-mail through a mail server (SMTP); all about one group in one thread"
RATE = Rate(per_second=1, burst=10)
DEDUPLICATES = False
THREADS = True
TAKES_TO = True
ACKNOWLEDGES = False
LETTERS = True

MAX_TEXT = 500_000
_LONGEST = 20_000
_SUBJECT = 180
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.\[\]:-]{1,255}")
_POLICY = SMTP.clone(cte_type="7bit")  # what every server takes
_DOTS = re.compile(r"^\.{1,20}", re.MULTILINE)
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError("must be an address such as ops@example.com")
    return value


def _mailbox(value: str) -> str:
    """`ops@example.com` or `Operations <ops@example.com>`."""
    _address(parseaddr(value)[1] if value.isprintable() else "")
    return value


def _ascii(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isascii():
        raise ValueError("must be ASCII: the login of SMTP knows nothing else")
    return value


Address = Annotated[str, AfterValidator(_address)]


class Options(BaseOptions):
    """The mail server, and who writes to whom."""

    host: str = Field(min_length=1, max_length=255, description="name or address of the mail server")
    port: int | None = Field(default=None, ge=1, le=65535, description="587 (starttls), 465 (tls) or 25 (none)")
    security: smtp.Security = Field(
        default="starttls",
        description="starttls: encrypted or not at all; tls: from the first byte; none: in the clear",
    )
    username: str | None = Field(default=None, min_length=1, description="who logs in; without one, nobody does")
    password: Annotated[SecretStr, AfterValidator(_ascii)] | None = Field(default=None, description="of the user")
    sender: Annotated[str, AfterValidator(_mailbox)] = Field(
        alias="from", description="who writes: ops@example.com, or Operations <ops@example.com>"
    )
    to: tuple[Address, ...] = Field(default=(), description="addresses where a contact names none")
    verify_tls: bool = Field(default=True, description="refuse certificates that cannot be verified")
    ca_file: Path | None = Field(default=None, description="PEM file of a private certificate authority")

    @field_validator("to", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("username")
    @classmethod
    def _ascii_name(cls, value: str | None) -> str | None:
        if value is not None and not value.isascii():
            raise ValueError("must be ASCII: the login of SMTP knows nothing else")
        return value

    @field_validator("ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("is no file")
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> Options:
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` go together")
        return self


def destination(options: Options, to: str | None) -> str:
    """`email:ADDRESS`. Raises Misconfigured without one."""
    return f"{KIND}:{','.join(_recipients(options, to))}"


def send(delivery: Delivery, options: Options) -> Outcome:
    """One message to all addresses. Where only some are refused, it is delivered, and the error says so."""
    recipients = _recipients(options, delivery.to)
    message = letter(delivery, options, recipients)
    refused = smtp.submit(
        _server(options),
        sender=parseaddr(options.sender)[1],
        to=recipients,
        content=message.as_bytes(),
        allow=(*delivery.allow, *settings().egress_allow),
        timeout_seconds=delivery.timeout_seconds,
    )
    error = f"{len(refused)} of {len(recipients)} addresses were refused" if refused else None
    return Outcome(delivered=True, provider_id=message["Message-ID"], error=error)


def letter(delivery: Delivery, options: Options, recipients: list[str]) -> EmailMessage:
    """The whole message with its headers."""
    message = delivery.message
    content = content_of(delivery, deduplicates=DEDUPLICATES, longest=_LONGEST)
    domain = parseaddr(options.sender)[1].rpartition("@")[2]
    root = f"<{_digest(message.thread)}.thread@{domain}>"
    first = delivery.reply_to if delivery.reply_to and _MESSAGE_ID.fullmatch(delivery.reply_to) else None
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = _subject(message, content)
    mail["From"] = formataddr(parseaddr(options.sender))
    mail["To"] = ", ".join(recipients)
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = f"<{_digest(message.key)}@{domain}>"
    mail["In-Reply-To"] = first or root
    mail["References"] = f"{root} {first}" if first else root
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail["X-Smm-Event"] = message.event.value
    if message.event is not Event.NOTICE:
        mail["X-Smm-Severity"] = severity_of(message)
    if severity_of(message) == "critical" and message.event in (Event.FIRING, Event.ESCALATED, Event.REPEATED):
        mail["Importance"] = "high"
    mail.set_content(plain(content))
    mail.add_alternative(page(content), subtype="html")
    for part in mail.iter_parts():
        _hide_dots(part)
    return mail


def _hide_dots(part: MimePart) -> None:
    """A line that begins with a full stop gets a second one on its way, and not every server takes it off again."""
    if part["Content-Transfer-Encoding"] == "quoted-printable":
        encoded = str(part.get_payload())
        part.set_payload(_DOTS.sub(lambda found: "=2E" * len(found[0]) + "=\n", encoded))


def plain(content: Content) -> str:
    """The message as plain text."""
    text = joined((Piece(content.headline), *flow(content)), MAX_TEXT)
    links = "\n".join(f"{link.label}: {link.url}" for link in content.links)
    footer = f"-- \n{content.footer}" if content.footer else ""
    return "\n\n".join(part for part in (text, links, footer) if part) + "\n"


def page(content: Content) -> str:
    """The message as HTML, which mail programs show in the reader's direction of writing."""
    rows = "".join(
        f'<tr><td style="padding:2px 12px 2px 0;color:#555">{html(name)}</td><td dir="auto">{_lines(value)}</td></tr>'
        for name, value in content.fields
    )
    parts = [
        f'<h2 dir="auto" style="border-left:6px solid #{content.colour:06x};padding-left:10px">'
        f"{html(content.headline)}</h2>",
        *(f'<p style="color:#555">{html(line)}</p>' for line in standing_lines(content)),
        *(f'<p dir="auto">{_lines(text)}</p>' for text in (content.summary, content.note) if text),
        f"<table>{rows}</table>" if rows else "",
        *(f'<div dir="auto">{html(line)}</div>' for line in content.alert_lines),
        *(f'<h3 dir="auto">{html(name)}</h3><p dir="auto">{_lines(value)}</p>' for name, value in content.paragraphs),
        *(f'<p><a href="{html(link.url)}">{html(link.label)}</a></p>' for link in content.links),
        f'<p style="color:#888;font-size:smaller">{html(content.footer)}</p>' if content.footer else "",
    ]
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html><body style="font-family:sans-serif">\n{body}\n</body></html>\n'


def _lines(text: str) -> str:
    return html(text).replace("\n", "<br>\n")


def _subject(message: Message, content: Content) -> str:
    """The same words for a whole thread: some mail programs show together only what is called the same.

    A notice's own words stand as they are: each says what is to be done now.
    """
    title = fit(content.title or content.word, _SUBJECT)
    return title if message.event in (Event.FIRING, Event.TEST, Event.NOTICE) else f"Re: {title}"


def _server(options: Options) -> smtp.Server:
    return smtp.Server(
        host=options.host,
        port=options.port or smtp.PORTS[options.security],
        security=options.security,
        username=options.username,
        password=None if options.password is None else options.password.get_secret_value(),
        verify_tls=options.verify_tls,
        ca_file=options.ca_file,
    )


def _recipients(options: Options, to: str | None) -> list[str]:
    found = list(options.to) if to is None else [one_line(to)]
    if not found:
        raise Misconfigured("no address: give `to`, of the channel or of the contact")
    if not all(_ADDRESS.fullmatch(address) for address in found):
        raise Misconfigured("must be an address such as ops@example.com")
    return list(dict.fromkeys(found))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

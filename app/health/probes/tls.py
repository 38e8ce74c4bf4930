"""Is a port's certificate trusted, for the right name, and for how long yet?

The certificate is read even where it is refused, so that the reason and the days left are told together.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from app import clock
from app.health.probes import _network
from app.health.probing import Deadline, Defaults, Outcome, Target, TimedOut, failed, milliseconds_since
from app.health.probing import Options as BaseOptions
from app.health.results import ProbeError, Threshold

KIND = "tls"
SUMMARY = "a port's TLS certificate is trusted and belongs to the name; days left"
DEFAULTS = Defaults(interval_seconds=300)
READINGS = {
    "latency_ms": "time to connect and shake hands",
    "days_left": "whole days until the certificate expires",
}
THRESHOLDS = {"days_left": Threshold(warning=14, degraded=3, below=True)}
ADVICE = {
    "refused": "Nothing listens on that port: start the service, or correct the port in the catalogue.",
    "timeout": "The host does not answer: see that it is up, and that no firewall drops the packets.",
    "expired": "Renew the certificate now, and see why it was not renewed by itself.",
    "not_trusted": "Install the whole chain, or name a private authority with ca_file.",
    "wrong_host": "The certificate is for another name: correct server_name, or have one issued for this name.",
    "not_yet_valid": "The certificate begins later: see both clocks.",
    "days_left": "Renew the certificate.",
}
# https://docs.openssl.org/master/man1/openssl-verification-options/
_REASONS = {
    9: ProbeError("not_yet_valid", "the certificate is not valid yet"),
    10: ProbeError("expired", "the certificate has expired"),
    62: ProbeError("wrong_host", "the certificate is for another name"),
    64: ProbeError("wrong_host", "the certificate is for another address"),
}
_LINE = 4096


class Options(BaseOptions):
    """Whose certificate."""

    host: str = Field(min_length=1, description="name or address to connect to")
    port: int = Field(default=443, ge=1, le=65535, description="TCP port")
    server_name: str | None = Field(default=None, min_length=1, description="name the certificate is for; unset: host")
    starttls: Literal["smtp"] | None = Field(default=None, description="smtp: encryption begins after STARTTLS")
    verify: bool = Field(default=True, description="false: only the days left are judged")
    ca_file: Path | None = Field(default=None, description="PEM file of a private certificate authority")

    @field_validator("ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("is no file")
        return value


class _NoStartTls(Exception):
    """The mail server does not offer encryption."""


def probe(target: Target, options: Options) -> Outcome:
    """One handshake; a second one, which trusts anybody, where the certificate is refused."""
    deadline = target.deadline()
    started = clock.monotonic()
    try:
        refused = None
        try:
            raw = _certificate(options, deadline, verify=options.verify)
        except ssl.SSLCertVerificationError as error:
            refused = _REASONS.get(error.verify_code) or _untrusted(error)
            raw = _certificate(options, deadline, verify=False)
        return _judge(raw, refused, milliseconds_since(started))
    except _NoStartTls:
        return failed("no_starttls", "the mail server does not offer STARTTLS")
    except (OSError, TimedOut, UnicodeError) as error:
        return Outcome(error=_network.describe(error, target.timeout_seconds))


def _untrusted(error: ssl.SSLCertVerificationError) -> ProbeError:
    return ProbeError("not_trusted", f"the certificate is not trusted: {error.verify_message}")


def _certificate(options: Options, deadline: Deadline, *, verify: bool) -> bytes:
    """The server's certificate in DER. Raises OSError (of which ssl.SSLError is one), TimedOut, _NoStartTls."""
    context = ssl.create_default_context(cafile=str(options.ca_file) if options.ca_file else None)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _network.connect(options.host, options.port, deadline) as plain:
        if options.starttls == "smtp":
            _start_smtp(plain, deadline)
        plain.settimeout(deadline.remaining())
        with context.wrap_socket(plain, server_hostname=options.server_name or options.host) as secure:
            return secure.getpeercert(binary_form=True) or b""


def _start_smtp(sock: socket.socket, deadline: Deadline) -> None:
    """Greeting, EHLO, STARTTLS, as RFC 3207 has it."""
    for said, wanted in ((b"", b"220"), (b"EHLO smm-admin\r\n", b"250"), (b"STARTTLS\r\n", b"220")):
        sock.settimeout(deadline.remaining())
        sock.sendall(said)
        if not _reply(sock, deadline).startswith(wanted):
            raise _NoStartTls


def _reply(sock: socket.socket, deadline: Deadline) -> bytes:
    """The last line of one SMTP reply, read byte by byte: what follows it belongs to TLS."""
    line = b""
    for _ in range(_LINE):
        sock.settimeout(deadline.remaining())
        received = sock.recv(1)
        if not received:
            break
        line += received
        if received == b"\n":
            if line[3:4] != b"-":
                return line
            line = b""
    return b""


def _judge(raw: bytes, refused: ProbeError | None, latency_ms: float) -> Outcome:
    from cryptography import x509  # noqa: PLC0415 - 7 MB, for installations that probe a certificate
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    try:
        certificate = x509.load_der_x509_certificate(raw)
        left = certificate.not_valid_after_utc - clock.now()
    except ValueError:
        return Outcome(error=refused or ProbeError("not_trusted", "the certificate cannot be read"))
    expires_at = clock.iso(certificate.not_valid_after_utc)
    readings: dict[str, object] = {"days_left": left.days, "expires_at": expires_at}
    issuer = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    if issuer:
        readings["issuer"] = str(issuer[0].value)[:200]
    expired = _REASONS[10] if left.total_seconds() <= 0 else None
    error = expired or refused
    if error is not None:
        return failed(error.code, error.text, readings=readings)
    return Outcome(readings, latency_ms)

"""Does a name resolve, and to what it should?"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Literal

import dns.exception
import dns.rcode
import dns.rdata
import dns.resolver
from dns.rdtypes.txtbase import TXTBase
from pydantic import Field, field_validator

from app import clock
from app.health.probes import _network
from app.health.probing import Deadline, Defaults, Outcome, Target, TimedOut, failed, milliseconds_since
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold

KIND = "dns"
SUMMARY = "a name resolves; optionally to what is expected, or by a server of your choice"
DEFAULTS = Defaults(timeout_seconds=5)
READINGS = {
    "latency_ms": "time of the answer",
    "answers": "records in it",
    "ttl_seconds": "how long it may be kept",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {
    "nxdomain": "The name does not exist: see whether the domain has lapsed, or correct the name in the catalogue.",
    "no_answer": "The name exists without such a record: see the zone, or correct the type in the catalogue.",
    "servfail": "The name server cannot answer: look at the zone's own servers and at DNSSEC.",
    "refused": "The name server refuses to answer us: see whom it serves.",
    "timeout": "The name server does not answer: see that it is up and that nothing drops the packets.",
    "unexpected_answer": "The record says something else than expected: see who changed it, or correct the catalogue.",
}
_SHOWN = 10


class Options(BaseOptions):
    """What to ask, and whom."""

    name: str = Field(min_length=1, max_length=253, description="name to resolve")
    type: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = Field(
        default="A", description="kind of record"
    )
    server: str | None = Field(
        default=None, description="address of a name server, ip or ip:port; unset: this host's own"
    )
    expect: tuple[str, ...] = Field(default=(), description="values that must be among the answers")

    @field_validator("server")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            _server(value)
        return value


def probe(target: Target, options: Options) -> Outcome:
    """One resolution, never from a cache of ours."""
    deadline = target.deadline()
    started = clock.monotonic()
    try:
        answer = _resolve(options, deadline)
    except dns.resolver.NXDOMAIN:
        return failed("nxdomain", "the name does not exist")
    except dns.resolver.NoAnswer:
        return failed("no_answer", f"the name has no {options.type} record")
    except dns.resolver.NoNameservers as error:
        return _unanswered(error)
    except (dns.exception.Timeout, TimedOut):
        return Outcome(error=_network.describe(TimedOut(), target.timeout_seconds))
    except (dns.exception.DNSException, OSError, UnicodeError) as error:
        return failed("error", f"the question cannot be asked: {type(error).__name__}")
    return _judge(answer, options, milliseconds_since(started))


def _resolve(options: Options, deadline: Deadline) -> dns.resolver.Answer:
    resolver = dns.resolver.Resolver(configure=options.server is None)
    if options.server is not None:
        address, resolver.port = _server(options.server)
        resolver.nameservers = [address]
    return resolver.resolve(options.name, options.type, search=False, lifetime=deadline.remaining())


def _unanswered(error: dns.resolver.NoNameservers) -> Outcome:
    """What the last of the servers that were asked said."""
    said = [response.rcode() for *_, response in error.kwargs.get("errors", ()) if response is not None]
    match said[-1] if said else None:
        case dns.rcode.SERVFAIL:
            return failed("servfail", "the name server answers SERVFAIL: it could not find out")
        case dns.rcode.REFUSED:
            return failed("refused", "the name server refuses to answer")
        case None:
            return failed("servfail", "no name server gave an answer that can be read")
        case code:
            return failed("servfail", f"the name server answers {dns.rcode.to_text(code)}")


def _judge(answer: dns.resolver.Answer, options: Options, latency_ms: float) -> Outcome:
    values = [_text(record) for record in answer]
    readings: dict[str, object] = {
        "answers": len(values),
        "values": [value[:200] for value in sorted(values)[:_SHOWN]],
    }
    if answer.rrset is not None:
        readings["ttl_seconds"] = answer.rrset.ttl
    missing = [wanted for wanted in options.expect if _plain(wanted) not in {_plain(value) for value in values}]
    if missing:
        return failed("unexpected_answer", f"{', '.join(missing)} is not among the answers", readings=readings)
    return Outcome(readings, latency_ms)


def _text(record: dns.rdata.Rdata) -> str:
    if isinstance(record, TXTBase):
        return b"".join(record.strings).decode("utf-8", "replace")
    return record.to_text()


def _plain(value: str) -> str:
    return value.strip().lower().rstrip(".")


def _server(text: str) -> tuple[str, int]:
    """Address and port. Raises ValueError."""
    with_port = text.count(":") == 1 or "]:" in text
    host, _, port_text = text.rpartition(":") if with_port else (text, "", "53")
    try:
        address, port = ipaddress.ip_address(host.removeprefix("[").removesuffix("]")), int(port_text)
    except ValueError:
        raise ValueError("must be an address such as 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53") from None
    if not 1 <= port <= 65_535:
        raise ValueError("must have a port from 1 to 65535")
    return str(address), port

"""Does a name resolve, and to what it should?"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from app import clock
from app.health.probing import Defaults, Outcome, Target, failed, milliseconds_since
from app.health.probing import Options as BaseOptions
from app.health.results import ProbeError, Threshold

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
    from app.health.probes import _dns  # noqa: PLC0415 - 70 ms and 3 MB, for installations that probe a name

    started = clock.monotonic()
    server = _server(options.server) if options.server is not None else None
    answer = _dns.ask(options.name, options.type, server, target.deadline())
    latency_ms = milliseconds_since(started)
    if isinstance(answer, ProbeError):
        return Outcome(error=answer)
    readings: dict[str, object] = {
        "answers": len(answer.values),
        "values": [value[:200] for value in sorted(answer.values)[:_SHOWN]],
    }
    if answer.ttl_seconds is not None:
        readings["ttl_seconds"] = answer.ttl_seconds
    known = {_plain(value) for value in answer.values}
    missing = [wanted for wanted in options.expect if _plain(wanted) not in known]
    if missing:
        return failed("unexpected_answer", f"{', '.join(missing)} is not among the answers", readings=readings)
    return Outcome(readings, latency_ms)


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

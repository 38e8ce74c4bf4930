"""One question to a name server. Apart from its probe, so that only who asks loads dnspython."""

from __future__ import annotations

from dataclasses import dataclass

import dns.exception
import dns.rcode
import dns.rdata
import dns.resolver
from dns.rdtypes.txtbase import TXTBase

from app.health.probes import _network
from app.health.probing import Deadline, TimedOut
from app.health.results import ProbeError


@dataclass(frozen=True, slots=True)
class Records:
    """An answer: the values, as zone files write them (of TXT the text), and the seconds it may be kept."""

    values: tuple[str, ...]
    ttl_seconds: int | None


def ask(name: str, kind: str, server: tuple[str, int] | None, deadline: Deadline) -> Records | ProbeError:
    """What `server` (address and port), else this host's resolver, answers to a question about one kind of record."""
    try:
        answer = _resolver(server).resolve(name, kind, search=False, lifetime=deadline.remaining())
    except dns.resolver.NXDOMAIN:
        return ProbeError("nxdomain", "the name does not exist")
    except dns.resolver.NoAnswer:
        return ProbeError("no_answer", f"the name has no {kind} record")
    except dns.resolver.NoNameservers as error:
        return _unanswered(error)
    except (dns.exception.Timeout, TimedOut):
        return _network.describe(TimedOut(), deadline.seconds)
    except (dns.exception.DNSException, OSError, UnicodeError) as error:
        return ProbeError("error", f"the question cannot be asked: {type(error).__name__}")
    return Records(tuple(_text(record) for record in answer), answer.rrset.ttl if answer.rrset is not None else None)


def _resolver(server: tuple[str, int] | None) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=server is None)
    if server is not None:
        address, resolver.port = server
        resolver.nameservers = [address]
    return resolver


def _unanswered(error: dns.resolver.NoNameservers) -> ProbeError:
    """What the last of the servers that were asked said."""
    said = [response.rcode() for *_, response in error.kwargs.get("errors", ()) if response is not None]
    match said[-1] if said else None:
        case dns.rcode.SERVFAIL:
            return ProbeError("servfail", "the name server answers SERVFAIL: it could not find out")
        case dns.rcode.REFUSED:
            return ProbeError("refused", "the name server refuses to answer")
        case None:
            return ProbeError("servfail", "no name server gave an answer that can be read")
        case code:
            return ProbeError("servfail", f"the name server answers {dns.rcode.to_text(code)}")


def _text(record: dns.rdata.Rdata) -> str:
    if isinstance(record, TXTBase):
        return b"".join(record.strings).decode("utf-8", "replace")
    return record.to_text()

"""A name server of this host that answers by a table, refuses, fails, or says nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

SILENT = "silent"

Table = Mapping[tuple[str, str], list[str] | dns.rcode.Rcode | str]
"""(name with its dot, type) -> the records, a code, or SILENT; of what is not in it the name does not exist."""


@contextmanager
def name_server(table: Table) -> Iterator[str]:
    """Its address, ip:port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(sock, table), daemon=True)
        thread.start()
        host, port = sock.getsockname()
        yield f"{host}:{port}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (host, port))
        thread.join(5)


def _serve(sock: socket.socket, table: Table) -> None:
    while True:
        wire, sender = sock.recvfrom(4096)
        if not wire:
            return
        query = dns.message.from_wire(wire)
        asked = query.question[0]
        kind = dns.rdatatype.to_text(asked.rdtype)
        answer = table.get((asked.name.to_text(), kind), dns.rcode.NXDOMAIN)
        if answer == SILENT:
            continue
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if isinstance(answer, list):
            response.answer = [dns.rrset.from_text(asked.name, 300, "IN", kind, *answer)] if answer else []
        else:
            response.set_rcode(dns.rcode.Rcode(answer))
        sock.sendto(response.to_wire(), sender)

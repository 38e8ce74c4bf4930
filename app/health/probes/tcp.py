"""Does a TCP port accept connections, and say what it should?"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from pydantic import Field

from app import clock
from app.health.probes import _network
from app.health.probing import Deadline, Defaults, Outcome, Target, TimedOut, failed, milliseconds_since
from app.health.probing import Options as BaseOptions
from app.health.results import Threshold

KIND = "tcp"
SUMMARY = "a TCP port accepts connections; optionally it answers what is sent with what is expected"
DEFAULTS = Defaults()
READINGS = {
    "latency_ms": "time to connect",
}
THRESHOLDS: Mapping[str, Threshold] = {}
ADVICE = {
    "refused": "Nothing listens on that port: start the service, or correct the port in the catalogue.",
    "timeout": "The host does not answer: see that it is up, and that no firewall drops the packets.",
    "dns": "The name does not resolve: correct the host in the catalogue, or the resolver.",
    "unexpected_answer": "Something listens, but not the service that is expected: see what it is.",
}
_ANSWER_LIMIT = 4096


class Options(BaseOptions):
    """Where to connect."""

    host: str = Field(min_length=1, description="name or address")
    port: int = Field(ge=1, le=65535, description="TCP port")
    send: str | None = Field(default=None, description="text sent once connected")
    expect: str | None = Field(default=None, min_length=1, description="text that the answer must contain")


def probe(target: Target, options: Options) -> Outcome:
    """Connect, and where asked exchange one text; all within the target's time-out."""
    deadline = target.deadline()
    started = clock.monotonic()
    try:
        with _network.connect(options.host, options.port, deadline) as sock:
            latency = milliseconds_since(started)
            if options.send is not None:
                sock.settimeout(deadline.remaining())
                sock.sendall(options.send.encode())
            if options.expect is not None and not _answers(sock, options.expect.encode(), deadline):
                return failed("unexpected_answer", "connected, but the expected text did not come")
    except (OSError, TimedOut, UnicodeError) as error:
        return Outcome(error=_network.describe(error, target.timeout_seconds))
    return Outcome(latency_ms=latency)


def _answers(sock: socket.socket, expected: bytes, deadline: Deadline) -> bool:
    answer = b""
    while expected not in answer and len(answer) < _ANSWER_LIMIT:
        sock.settimeout(deadline.remaining())
        received = sock.recv(_ANSWER_LIMIT - len(answer))
        if not received:
            break
        answer += received
    return expected in answer

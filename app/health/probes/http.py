"""Does an HTTP endpoint answer as it should? Status, latency, body or JSON assertion, days left on the certificate."""

from __future__ import annotations

import json
import ssl
from typing import Any, Literal

import httpx
from pydantic import AnyHttpUrl, Field, SecretStr

from app import clock
from app.health.probes import _client, _http
from app.health.probing import Deadline, Defaults, Outcome, Target, failed, milliseconds_since
from app.health.results import Threshold

KIND = "http"
SUMMARY = "an HTTP endpoint answers with the expected status, optionally body or JSON; TLS days left"
DEFAULTS = Defaults()
READINGS = {
    "latency_ms": "time from connecting to the last byte read",
    "status_code": "HTTP status of the answer",
    "tls_days_left": "whole days until the certificate expires",
}
THRESHOLDS = {"tls_days_left": Threshold(warning=14, degraded=3, below=True)}
ADVICE = {
    "refused": "Nothing listens at that address: start the service, or correct its url in the catalogue.",
    "timeout": "The service accepts work but does not answer in time: look at its load and its own dependencies.",
    "dns": "The name does not resolve: correct the url in the catalogue, or the resolver.",
    "tls": "Renew or correct the certificate, or name its authority with ca_file.",
    "status": "The service answers with an error: read its own log.",
    "body": "The service answers, but not with what is expected: read its own log, or correct the assertion.",
    "tls_days_left": "Renew the certificate.",
}
_REDIRECTS = 5


class Options(_http.Address):
    """The request and what its answer must be."""

    url: AnyHttpUrl = Field(description="address to request")
    method: Literal["GET", "HEAD", "POST"] = Field(default="GET", description="request method")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="request headers; never shown")
    expect_status: _http.Statuses = Field(default="200-299", description='accepted statuses, as in "200-299,401"')
    follow_redirects: bool = Field(default=False, description="follow up to five; headers go to the first host only")
    body_contains: str | None = Field(default=None, min_length=1, description="text that the body must contain")
    json_equals: dict[str, str | int | float | bool | None] | None = Field(
        default=None, description='values the JSON body must hold, by dotted path: {"db.status" = "ok"}'
    )
    max_body_bytes: int = Field(default=65_536, ge=1, le=16_777_216, description="of the body, at most this is read")


def probe(target: Target, options: Options) -> Outcome:
    """One request on a fresh connection; latency is from before connecting to the last byte that was read."""
    deadline = target.deadline()
    try:
        with _client.within(deadline):
            return _ask(options, deadline)
    except _http.TROUBLES as error:
        return _http.failure(error, target.timeout_seconds)


def _ask(options: Options, deadline: Deadline) -> Outcome:
    shared = _client.client(verify=options.verify_tls, ca_file=options.ca_file)
    started = clock.monotonic()
    secret = {name: value.get_secret_value() for name, value in options.headers.items()}
    request = shared.build_request(options.method, str(options.url), headers={**_http.HEADERS, **secret})
    origin = _origin(request)
    for _ in range(_REDIRECTS + 1):
        response = shared.send(request, stream=True, follow_redirects=False)
        try:
            if not (options.follow_redirects and response.next_request is not None):
                readings: dict[str, object] = {"status_code": response.status_code} | _tls(response)
                body = b"".join(_http.read(response, options.max_body_bytes, deadline))
                return _judge(options, response.status_code, body, readings, milliseconds_since(started))
            request = response.next_request
        finally:
            response.close()
        if _origin(request) != origin:
            for name in secret:
                request.headers.pop(name, None)
    return failed("redirects", f"more than {_REDIRECTS} redirects")


def _origin(request: httpx.Request) -> tuple[str, str, int | None]:
    return request.url.scheme, request.url.host, request.url.port


def _tls(response: httpx.Response) -> dict[str, object]:
    """Days left on the certificate; nothing over plain HTTP, nor where verification is off and nothing is parsed."""
    sock = response.extensions["network_stream"].get_extra_info("socket")
    certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    if not certificate:
        return {}
    expires = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return {"tls_days_left": int((expires - clock.now().timestamp()) // 86_400)}


def _judge(options: Options, status: int, body: bytes, readings: dict[str, object], latency_ms: float) -> Outcome:
    if not _http.accepts(options.expect_status, status):
        outcome = failed("status", f"answered {status}, expected {options.expect_status}", readings=readings)
    elif options.body_contains is not None and options.body_contains.encode() not in body:
        outcome = failed("body", "the body does not contain the expected text", readings=readings)
    elif options.json_equals is not None and (wrong := _json_problem(options.json_equals, body)):
        outcome = failed("body", wrong, readings=readings)
    else:
        outcome = Outcome(readings)
    return Outcome(outcome.readings, latency_ms, outcome.error)


def _json_problem(expected: dict[str, Any], body: bytes) -> str | None:
    """What differs from the expectation; the body's own words are not repeated, they may be anything."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    for path, value in expected.items():
        found: Any = document
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if type(found) is not type(value) or found != value:
            return f"{path} in the body is not {json.dumps(value)}"
    return None

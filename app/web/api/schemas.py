"""Bodies as the OpenAPI document shows them. Endpoints read raw JSON, so that a stranger's body is never parsed."""

from __future__ import annotations

from typing import Any

from app.admission.outcome_body import AdmissionOutcome
from app.admission.requests import AdmissionRequest
from app.costs.call_body import LlmCall
from app.jobs.intake import JobRequest
from app.web.api import (
    alert_bodies,
    budgets,
    costs_bills,
    costs_set_aside,
    keys,
    modes,
    pauses,
    prices,
    recovery,
    token_bodies,
    token_reading,
)

_REF = "#/components/schemas/{model}"


def body(component: str) -> dict[str, Any]:
    """An operation's `requestBody` that points at one of `components`."""
    schema = {"$ref": f"#/components/schemas/{component}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def calls_body() -> dict[str, Any]:
    """LLM calls come as JSON, one or many, or as one a line."""
    one, many = ({"$ref": f"#/components/schemas/{name}"} for name in ("LlmCall", "LlmCalls"))
    content = {"application/json": {"schema": {"anyOf": [many, one]}}, "application/x-ndjson": {"schema": one}}
    return {"requestBody": {"required": True, "content": content}}


def components() -> dict[str, Any]:
    """The schemas FastAPI cannot see for itself: bodies, and the problem document of every error."""
    job = JobRequest.model_json_schema(ref_template=_REF)
    outcome = AdmissionOutcome.model_json_schema(ref_template=_REF)
    definitions: dict[str, Any] = {**job.pop("$defs", {}), **outcome.pop("$defs", {})}
    return {
        **definitions,
        **alert_bodies.components(),
        **budgets.components(),
        **costs_bills.components(),
        **costs_set_aside.components(),
        **keys.components(),
        **modes.components(),
        **pauses.components(),
        **prices.components(),
        **recovery.components(),
        **token_bodies.components(),
        **token_reading.components(),
        "AdmissionRequest": AdmissionRequest.model_json_schema(ref_template=_REF),
        "AdmissionBatch": _batch("AdmissionBatch", "admissions", "AdmissionRequest"),
        "AdmissionOutcome": outcome,
        "LlmCall": LlmCall.model_json_schema(ref_template=_REF),
        "LlmCalls": _batch("LlmCalls", "calls", "LlmCall"),
        "JobRequest": job,
        "JobBatch": _batch("JobBatch", "jobs", "JobRequest"),
        "Problem": _PROBLEM,
    }


def _batch(title: str, member: str, component: str) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{component}"}}
    return {
        "title": title,
        "type": "object",
        "required": [member],
        "additionalProperties": False,
        "properties": {member: items},
    }


_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457; `application/problem+json`",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "finds the request in the log"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string", "description": "path in dots"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}

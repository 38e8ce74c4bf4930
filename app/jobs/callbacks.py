"""Telling a caller's address how its job ended: POST, signed, repeated until it is taken or refused."""

from __future__ import annotations

import hashlib
import hmac
import json
from uuid import UUID

from app.config import settings
from app.errors import Permanent
from app.infra import db, http
from app.jobs import admin

TIMEOUT_SECONDS = 10.0
_KEPT = ("id", "task", "state", "key", "attempt", "created_at", "started_at", "finished_at", "result", "error")


def deliver(job_id: UUID, *, delivery: UUID) -> dict[str, int]:
    """POST the finished job; the answer's status. Raises Transient for what is worth another try, else Permanent.

    `Idempotency-Key` is the delivery's id: the same for each try. With a callback secret the body is signed:
    `X-SMM-Signature: sha256=<HMAC-SHA256 in hex>`.
    """
    with db.read_only() as session:
        shown = admin.get(session, job_id).as_dict()
        url = admin.callback_url(session, job_id)
    if url is None:
        raise Permanent(f"job {job_id} names no callback address")
    body = json.dumps({name: shown[name] for name in _KEPT}).encode()
    headers = {"content-type": "application/json", "idempotency-key": str(delivery), "user-agent": "smm-admin"}
    secret = settings().callback_secret
    if secret is not None:
        digest = hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
        headers["x-smm-signature"] = f"sha256={digest}"
    status = http.post_guarded(
        url, content=body, headers=headers, allow=settings().egress_allow, timeout_seconds=TIMEOUT_SECONDS
    )
    return {"http_status": status}

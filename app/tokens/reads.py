"""Who asked for tokens: read back, newest first."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.infra.plain import plain
from app.infra.text import storable
from app.tokens import store

MOST = 500


def list_reads(
    session: Session,
    platform: str,
    external_id: str,
    *,
    by: str | None = None,
    limit: int = 100,
    before: UUID | None = None,
) -> list[dict[str, Any]]:
    """Of one account. `before` continues below an id. Raises NotFound."""
    account = store.load(session, platform, external_id).account
    conditions = ["account_id = :account"]
    conditions += ["by = :by"] if by is not None else []
    conditions += ["id < :before"] if before is not None else []
    rows = session.execute(
        text(
            "SELECT id, at, by, outcome, purpose, address, generation FROM token_reads"
            f" WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT :limit"
        ),
        {"account": account.id, "by": None if by is None else storable(by), "before": before, "limit": limit},
    )
    return [plain(row._asdict()) for row in rows]

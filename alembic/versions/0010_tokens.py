"""Tokens: platform accounts, their tokens and history, messages to their owners, connecting, API keys."""

import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_UUID = postgresql.UUID(as_uuid=True)
_JSON = postgresql.JSONB
_TIME = sa.DateTime(timezone=True)
_TEXTS = postgresql.ARRAY(sa.Text)
_NOW = sa.text("now()")


def upgrade() -> None:
    _accounts()
    _history()
    _telling()
    _connecting()
    _keys()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, server_default="", nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, server_default="0", nullable=False)


def _facts() -> sa.Column[object]:
    return sa.Column("facts", _JSON, server_default="{}", nullable=False)


def _account(name: str, constraint: str) -> sa.Column[uuid.UUID]:
    key = sa.ForeignKey("accounts.id", ondelete="CASCADE", name=constraint)
    return sa.Column(name, _UUID, key, nullable=False)


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _UUID, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("tenant", "platform", "external_id")),
        _text("name"),
        _text("app"),
        sa.Column("contacts", _JSON, server_default="[]", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("disabled_at", _TIME),
        _text("disabled_by"),
        _text("disabled_reason"),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("platform", "external_id", name="uq_accounts_platform_external_id"),
    )
    op.create_index("ix_accounts_tenant", "accounts", ["tenant"])
    op.create_table(
        "token_status",
        _account("account_id", "fk_token_status_account_id_accounts"),
        _count("generation"),
        _text("grant_state"),
        _text("reason"),
        _text("detail"),
        *(sa.Column(name, postgresql.BYTEA) for name in ("access", "refresh", "previous_access", "previous_refresh")),
        _text("key_id"),
        _text("previous_key_id"),
        _text("token_type"),
        sa.Column("scopes", _TEXTS, server_default="{}", nullable=False),
        *(sa.Column(name, _TIME) for name in ("issued_at", "expires_at", "refresh_expires_at")),
        _count("attempts"),
        *(sa.Column(name, _TIME) for name in ("tried_at", "refreshed_at", "failing_since", "wait_until", "next_at")),
        _count("climb"),
        _text("told"),
        sa.Column("paused", sa.Boolean, server_default=sa.text("false"), nullable=False),
        _text("lease_by"),
        *(sa.Column(name, _TIME) for name in ("lease_until", "started_at", "checked_at")),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_token_status"),
        postgresql_with={"fillfactor": 80},  # a row is updated several times by each refresh
    )
    waits = sa.text("next_at IS NOT NULL")
    op.create_index("ix_token_status_next_at", "token_status", ["next_at"], postgresql_where=waits)


def _history() -> None:
    for table, more in (
        (
            "token_history",
            (_text("kind"), _text("reason"), sa.Column("facts", _JSON, server_default="{}", nullable=False)),
        ),
        ("token_reads", (_text("outcome"), _text("purpose"), _text("address"))),
    ):
        op.create_table(
            table,
            sa.Column("id", _UUID, nullable=False),
            sa.Column("at", _TIME, server_default=_NOW, nullable=False),
            sa.Column("account_id", _UUID, nullable=False),
            *(sa.Column(name, sa.Text, nullable=False) for name in ("tenant", "platform", "external_id")),
            _count("generation"),
            sa.Column("by", sa.Text, server_default="", nullable=False),
            *more,
            sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
            postgresql_partition_by="RANGE (id)",
        )
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
        op.create_index(f"ix_{table}_account_id_id", table, ["account_id", "id"])
    removed = sa.text("kind = 'removed'")
    op.create_index(
        "ix_token_history_removed", "token_history", ["platform", "external_id", "id"], postgresql_where=removed
    )
    op.create_table(
        "token_looks",
        sa.Column("zone", sa.Text, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("looked_at", _TIME),
        sa.PrimaryKeyConstraint("zone", name="pk_token_looks"),
    )
    op.create_table(
        "token_days",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        *(_count(name) for name in ("checked", "healthy", "expiring_soon", "critical")),
        sa.PrimaryKeyConstraint("day", "tenant", name="pk_token_days"),
    )
    op.create_table(
        "token_tries",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("platform", "outcome", "reason")),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", "platform", "outcome", "reason", name="pk_token_tries"),
    )
    op.create_table(
        "token_tallied",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("until", _UUID, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_token_tallied"),
    )
    op.create_table(
        "token_low",
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        _facts(),
        sa.PrimaryKeyConstraint("platform", name="pk_token_low"),
    )
    op.create_table(
        "token_apps",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        _text("reason"),
        _count("failures"),
        sa.Column("since", _TIME, server_default=_NOW, nullable=False),
        sa.Column("held_until", _TIME),
        sa.PrimaryKeyConstraint("name", name="pk_token_apps"),
    )


def _telling() -> None:
    op.create_table(
        "token_messages",
        sa.Column("id", _UUID, nullable=False),
        _account("account_id", "fk_token_messages_account_id_accounts"),
        _count("climb"),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("step", "channel", "recipient", "state")),
        _count("tries"),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("tried_at", _TIME),
        sa.Column("in_doubt", sa.Boolean, server_default=sa.text("false"), nullable=False),
        sa.Column("sent_at", _TIME),
        _text("provider_id"),
        _text("error"),
        sa.PrimaryKeyConstraint("id", name="pk_token_messages"),
        sa.UniqueConstraint("account_id", "climb", "step", "channel", "recipient", name="uq_token_messages_once"),
    )
    is_open = sa.text("state IN ('waiting', 'sending')")
    address = ["channel", "recipient", "created_at"]
    op.create_index("ix_token_messages_open", "token_messages", address, postgresql_where=is_open)


def _connecting() -> None:
    op.create_table(
        "token_connects",
        sa.Column("id", _UUID, nullable=False),
        _account("account_id", "fk_token_connects_account_id_accounts"),
        sa.Column("state_hash", postgresql.BYTEA, nullable=False),
        sa.Column("browser_hash", postgresql.BYTEA, nullable=False),
        sa.Column("verifier", postgresql.BYTEA),
        _text("key_id"),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME),
        _text("outcome"),
        sa.PrimaryKeyConstraint("id", name="pk_token_connects"),
        sa.UniqueConstraint("state_hash", name="uq_token_connects_state_hash"),
    )
    op.create_index("ix_token_connects_expires_at", "token_connects", ["expires_at"])


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", postgresql.BYTEA, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scopes", _TEXTS, server_default="{}", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        _text("created_by"),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME),
        _text("revoked_by"),
        sa.Column("used_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
    )
    in_use = sa.text("revoked_at IS NULL")
    op.create_index("uq_api_keys_name", "api_keys", ["name"], unique=True, postgresql_where=in_use)


def downgrade() -> None:
    for table in (
        "api_keys",
        "token_connects",
        "token_messages",
        "token_apps",
        "token_low",
        "token_tallied",
        "token_tries",
        "token_days",
        "token_looks",
        "token_reads",
        "token_history",
        "token_status",
        "accounts",
    ):
        op.drop_table(table)

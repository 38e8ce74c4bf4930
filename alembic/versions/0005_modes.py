"""Modes: which operations wait or fall back, since when, and who says so."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_UUID = postgresql.UUID(as_uuid=True)
_TEXTS = postgresql.ARRAY(sa.Text)
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "operation_modes",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("set_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("cause", _TEXTS, server_default="{}", nullable=False),
        sa.Column("fall_back", _TEXTS, server_default="{}", nullable=False),
        sa.Column("wait", _TEXTS, server_default="{}", nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("on_since", _TIME, nullable=False),
        sa.Column("until", _TIME),
        sa.Column("ended_at", _TIME),
        sa.Column("ended_by", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_operation_modes"),
    )
    op.create_index("ix_operation_modes_name", "operation_modes", ["name", "since"], unique=False)
    op.create_index(
        "uq_operation_modes_open",
        "operation_modes",
        ["name", "holder"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "mode_version",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mode_version"),
    )
    op.execute("INSERT INTO mode_version (id) VALUES (1)")

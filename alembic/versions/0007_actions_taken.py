"""Actions taken: which alerts of a group have more to say than was told."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alert_group_members", sa.Column("acted_at", sa.DateTime(timezone=True)))

"""Availability: what health was in each hour and day, and which error budgets burn."""

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""

"""Recovery: runs of playbooks, their steps, what they used of their budgets."""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""

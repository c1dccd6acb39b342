"""${message}."""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; each migration says here what it adds."""
    ${upgrades if upgrades else 'op.execute("")'}

"""Projections hold how long the device worked for a request, as its close declares it.

Requests from before declare nothing and keep a zero, which is what a rebuild gives them too.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SCRIPT = """
ALTER TABLE app.generation ADD COLUMN busy_us bigint NOT NULL DEFAULT 0;
ALTER TABLE app.generation_day ADD COLUMN busy_us bigint NOT NULL DEFAULT 0;
"""


def upgrade() -> None:
    """Add the columns."""
    op.get_bind().exec_driver_sql(_SCRIPT)

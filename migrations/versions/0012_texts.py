"""What a text was delivered as is found in the order that pages come in, however many answers had that very text.

Without the order in the index, a planner that thinks a text common walks all of a tenant's time for one that nobody had.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SCRIPT = """
DROP INDEX app.generation_text;
CREATE INDEX generation_text ON app.generation (tenant, text_hmac, opened_at DESC, id DESC)
    INCLUDE (mode, state, caller, workflow, verdict) WHERE text_hmac IS NOT NULL;
"""


def upgrade() -> None:
    """Build the index anew."""
    op.get_bind().exec_driver_sql(_SCRIPT)

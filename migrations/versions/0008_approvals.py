"""Approvals are found in the log by what they are, and each place that hears of them remembers how far it has heard.

The indexes hold records of approvals alone, so they cost nothing elsewhere. The cursors are of no account when they are lost:
then a place hears from that moment on.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SCRIPT = """
CREATE INDEX header_approvals ON audit.header (tenant, kind, seq) WHERE kind BETWEEN 20 AND 29;
CREATE INDEX header_case ON audit.header (request, seq) WHERE kind BETWEEN 20 AND 29;

CREATE TABLE app.webhook_cursor (
    tenant text NOT NULL,
    place bytea NOT NULL CHECK (octet_length(place) = 32),
    next_seq bigint NOT NULL,
    PRIMARY KEY (tenant, place)
);
"""


def upgrade() -> None:
    """Add the indexes and the cursors."""
    op.get_bind().exec_driver_sql(_SCRIPT)

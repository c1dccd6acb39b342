"""Schema app: held answers of one state in the order of their coming, and what each person has seen of each.

Both are projections: the index serves lists that nobody sorts, the table tells what changed since somebody looked.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_SCRIPT = """
CREATE INDEX approval_opened ON app.approval (tenant, state, opened_at, generation);

-- That a person read the records of a request, up to `last_seq`, is on record (kind 47); this is where it is found.
CREATE TABLE app.look (
    generation uuid NOT NULL,
    person text NOT NULL,
    last_seq bigint NOT NULL,
    tenant text NOT NULL,
    PRIMARY KEY (generation, person, last_seq)
);
"""


def upgrade() -> None:
    """Add the index and the table."""
    op.get_bind().exec_driver_sql(_SCRIPT)

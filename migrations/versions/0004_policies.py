"""Schema app: the policies that the log says were put in force, and which of them is, for each tenant.

Both are projections of records of kind 40 and can be made again from the log. A version is named by the SHA-256 of its text,
which the database checks too, so it cannot become another one under the same name.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SCRIPT = """
CREATE TABLE app.policy_version (
    tenant text NOT NULL REFERENCES app.tenant (name),
    digest bytea NOT NULL CHECK (digest = sha256(convert_to(document, 'UTF8'))),
    document text NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, digest)
);
REVOKE UPDATE ON app.policy_version FROM gov_app;

CREATE TABLE app.policy_in_force (
    tenant text PRIMARY KEY REFERENCES app.tenant (name),
    digest bytea NOT NULL,
    candidate bytea,
    share double precision CHECK (share > 0 AND share < 1),
    seq bigint NOT NULL,
    CHECK ((candidate IS NULL) = (share IS NULL)),
    FOREIGN KEY (tenant, digest) REFERENCES app.policy_version,
    FOREIGN KEY (tenant, candidate) REFERENCES app.policy_version (tenant, digest)
);
"""


def upgrade() -> None:
    """Add the versions of policies and the one in force for each tenant."""
    op.get_bind().exec_driver_sql(_SCRIPT)

"""Schema app: ordinary mutable tables of the gateway, here tenants and their API keys.

Never evidence: what counts is recorded in the log. The version table of the migrations lives here too and gov_app may
read it, so that a start with too old a schema can say so.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SCRIPT = """
GRANT USAGE ON SCHEMA app TO gov_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO gov_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE ON SEQUENCES TO gov_app;
GRANT SELECT ON app.alembic_version TO gov_app;

CREATE TABLE app.tenant (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$')
);

-- A key is random, so a plain SHA-256 of it is enough; the key itself is shown once and never stored.
CREATE TABLE app.api_key (
    id uuid PRIMARY KEY,
    tenant text NOT NULL REFERENCES app.tenant (name),
    sha256 bytea NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
    label text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE INDEX api_key_tenant ON app.api_key (tenant);
"""


def upgrade() -> None:
    """Add tenants and API keys, and the ordinary rights of gov_app in this schema."""
    op.get_bind().exec_driver_sql(_SCRIPT)

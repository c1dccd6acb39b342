"""Schema app: people of a tenant, their sign-ins, what was tried in vain, and changes on their way into force.

Tenant `system` has people but no row in app.tenant: it asks for no answers. Changes of all this are in the log.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_PEOPLE = """
CREATE TABLE app.user_account (
    id uuid PRIMARY KEY,
    tenant text NOT NULL CHECK (tenant ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._@+-]{0,62}$'),
    display_name text NOT NULL,
    roles text[] NOT NULL,
    groups text[] NOT NULL,
    password text NOT NULL CHECK (password LIKE '$argon2id$%'),
    password_set_at timestamptz NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    UNIQUE (tenant, name)
);

-- The token is 256 random bits, so a plain SHA-256 of it is enough.
CREATE TABLE app.sign_in (
    token_sha256 bytea PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    user_id uuid NOT NULL REFERENCES app.user_account (id),
    made_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sign_in_user ON app.sign_in (user_id);

-- Names of nobody are counted like names of users, hence no reference.
CREATE TABLE app.attempt (
    name_sha256 bytea PRIMARY KEY CHECK (octet_length(name_sha256) = 32),
    failures integer NOT NULL,
    last_at timestamptz NOT NULL,
    blocked_until timestamptz NOT NULL
);
CREATE INDEX attempt_age ON app.attempt (last_at);
"""

_KEYS = """
ALTER TABLE app.api_key ADD COLUMN user_id uuid REFERENCES app.user_account (id);
ALTER TABLE app.api_key ADD COLUMN expires_at timestamptz;
"""

_CHANGES = """
-- Decided, and either not yet in the log or not yet in force; `log_size` is how long the tenant's log was before.
CREATE TABLE app.staged_change (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    requested_by text NOT NULL,
    log_size bigint NOT NULL,
    change jsonb NOT NULL
);
"""


def upgrade() -> None:
    """Add people, and give API keys a user and an end."""
    for script in (_PEOPLE, _KEYS, _CHANGES):
        op.get_bind().exec_driver_sql(script.replace("%", "%%"))

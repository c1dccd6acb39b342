"""Schema app: passkeys of people, and challenges that wait for the passkey that is being made. Changes of these are in the log.

Of a passkey only what is public is kept: the authenticator alone can sign with it.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SCRIPT = """
CREATE TABLE app.passkey (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES app.user_account (id),
    credential bytea NOT NULL CHECK (octet_length(credential) BETWEEN 1 AND 1023),
    public_key bytea NOT NULL CHECK (octet_length(public_key) IN (42, 77)),
    rp_id text NOT NULL,
    label text NOT NULL,
    sign_count bigint NOT NULL CHECK (sign_count BETWEEN 0 AND 4294967295),
    made_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz,
    UNIQUE (user_id, credential)
);

-- 256 random bits that only the page of this person was shown; answered once, or never.
CREATE TABLE app.passkey_offer (
    challenge bytea PRIMARY KEY CHECK (octet_length(challenge) = 32),
    user_id uuid NOT NULL REFERENCES app.user_account (id),
    label text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX passkey_offer_user ON app.passkey_offer (user_id);
"""


def upgrade() -> None:
    """Add the passkeys."""
    op.get_bind().exec_driver_sql(_SCRIPT)

"""Schema app: what the log says of generations and approvals, in tables that can be searched.

Projections, never evidence: a follower of the logs writes them (`gateway/projections/`), and they can be made again from
nothing. They hold ids, figures and states. Of text there is only an HMAC under its subject's key, so a projection ends with it.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FOLLOWED = """
-- How far each log is in the tables below; the row is the lock of whoever goes on.
CREATE TABLE app.followed (
    tenant text PRIMARY KEY,
    next_seq bigint NOT NULL DEFAULT 0
);

-- What is in bodies is empty where `erased`: a body of the request can no longer be read. `key_id` seals its first record.
CREATE TABLE app.generation (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    caller text NOT NULL,
    key_id text NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    erased boolean NOT NULL DEFAULT false,
    state text NOT NULL,
    workflow text NOT NULL DEFAULT '',
    risk text NOT NULL DEFAULT '',
    model text NOT NULL DEFAULT '',
    mode text NOT NULL DEFAULT '',
    dialect text NOT NULL DEFAULT '',
    verdict text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    policy_digest bytea,
    prompt_tokens bigint NOT NULL DEFAULT 0,
    tokens bigint NOT NULL DEFAULT 0,
    forwards bigint NOT NULL DEFAULT 0,
    records bigint NOT NULL DEFAULT 0,
    money numeric NOT NULL DEFAULT 0,
    currency text NOT NULL DEFAULT '',
    text_hmac bytea,
    attached_to uuid
);
CREATE INDEX generation_text ON app.generation (tenant, text_hmac) WHERE text_hmac IS NOT NULL;
CREATE INDEX generation_key ON app.generation (tenant, key_id) WHERE NOT erased;
CREATE INDEX generation_place ON app.generation (tenant, first_seq) WHERE NOT erased;

-- Sums over the rows above by UTC day and mode; those that are erased have no mode.
CREATE TABLE app.generation_day (
    tenant text NOT NULL,
    day date NOT NULL,
    mode text NOT NULL,
    currency text NOT NULL,
    generations bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    tokens bigint NOT NULL,
    forwards bigint NOT NULL,
    microseconds bigint NOT NULL,
    held bigint NOT NULL,
    money numeric NOT NULL,
    PRIMARY KEY (tenant, day, mode, currency)
);
"""

_ASKED = ("mode", "state", "caller", "workflow", "verdict")
"""Columns that a search may narrow by."""
# What may be asked beside the first column of each index is in it, so that a search that finds little reads no row in vain.
_INDEX = "CREATE INDEX generation_{name} ON app.generation ({by}, opened_at DESC, id DESC) INCLUDE ({beside});"
_SEARCHES = _INDEX.format(name="time", by="tenant", beside=", ".join(_ASKED)) + "".join(
    _INDEX.format(name=first, by=f"tenant, {first}", beside=", ".join(each for each in _ASKED if each != first))
    for first in _ASKED
)

_APPROVALS = """
CREATE TABLE app.approval (
    generation uuid PRIMARY KEY,
    tenant text NOT NULL,
    cycle integer NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'approved', 'released', 'rejected', 'expired', 'cancelled')),
    opened_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    requester text NOT NULL,
    contributors text[] NOT NULL,
    workflow text NOT NULL,
    mode text NOT NULL,
    risk text NOT NULL DEFAULT '',
    content_sha256_hmac bytea NOT NULL,
    policy_digest bytea NOT NULL,
    needed jsonb NOT NULL,
    decided_by text[] NOT NULL DEFAULT '{}',
    broke_glass boolean NOT NULL DEFAULT false,
    last_seq bigint NOT NULL
);
CREATE INDEX approval_changed ON app.approval (tenant, last_seq);
CREATE INDEX approval_queue ON app.approval (tenant, expires_at, generation) WHERE state IN ('pending', 'approved');
CREATE INDEX approval_past ON app.approval (tenant, ended_at DESC) WHERE ended_at IS NOT NULL;

-- How people share the work; not from the log, and of no account when it is lost.
CREATE TABLE app.approval_desk (
    generation uuid PRIMARY KEY,
    priority integer NOT NULL DEFAULT 0,
    assigned_to text,
    locked_by text,
    locked_until timestamptz
);

-- Which generation answers a request that is asked again; the key is an HMAC of the request as its dialect means it.
CREATE TABLE app.attachment (
    tenant text NOT NULL,
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    generation uuid NOT NULL,
    instance uuid NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    until timestamptz NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX attachment_age ON app.attachment (until);
"""


def upgrade() -> None:
    """Add the projections."""
    for script in (_FOLLOWED, _SEARCHES, _APPROVALS):
        op.get_bind().exec_driver_sql(script.replace("%", "%%"))

"""Schema audit: the append-only log.

Raw header bytes are the Merkle leaves; the columns beside them are copies for queries. gov_app reaches the log
through two functions and in no other way, gov_reader sees the rows of the tenant it names, and statement triggers
refuse every change, to the owner too. Our own SQLSTATEs, all of class PA, are listed in audit/store.py.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE SCHEMA audit;
REVOKE ALL ON SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO gov_app, gov_reader;

-- The one mutable row per tenant: holding its lock until COMMIT makes the order of seq the order of commits.
CREATE TABLE audit.head (
    tenant text COLLATE "C" PRIMARY KEY,
    next_seq bigint NOT NULL CHECK (next_seq >= 0),
    last_ts bigint NOT NULL
) WITH (fillfactor = 50);

-- Makes a retry after an ambiguous COMMIT harmless.
CREATE TABLE audit.batch (
    batch_id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    first_seq bigint NOT NULL,
    n integer NOT NULL CHECK (n > 0)
);

CREATE TABLE audit.header (
    tenant text COLLATE "C" NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL,
    request uuid,
    kind smallint NOT NULL CHECK (kind > 0),
    leaf bytea NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (tenant, seq)
);
-- One key for all records of a request, which a btree keeps once.
CREATE INDEX header_request ON audit.header (request) WHERE request IS NOT NULL;
CREATE INDEX header_opened ON audit.header (tenant, seq) WHERE kind = 1;
CREATE INDEX header_ended ON audit.header (request) WHERE kind IN (10, 11);
CREATE INDEX header_ts ON audit.header USING brin (ts);

-- By month, so that what retention has emptied can be dropped whole. `lasting` bodies, those of administrative acts, are
-- never retired and stay in the default partition, as does a body whose month nobody has prepared.
CREATE TABLE audit.body (
    tenant text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    ts bigint NOT NULL,
    lasting boolean NOT NULL,
    data bytea NOT NULL
) PARTITION BY RANGE (lasting, ts);
-- Not unique: a key of a partitioned table would have to hold the month too. append() gives each seq away once.
CREATE INDEX body_place ON audit.body (tenant, seq);
-- Ciphertext does not compress; trying would only cost time.
ALTER TABLE audit.body ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE audit.body_rest PARTITION OF audit.body DEFAULT;

CREATE TABLE audit.checkpoint (
    tenant text COLLATE "C" NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    note text NOT NULL,
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, size)
);
"""

_DENY = """
CREATE FUNCTION audit.deny() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: the log only grows', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'PA005';
END $$;
REVOKE ALL ON FUNCTION audit.deny() FROM PUBLIC;
CREATE TRIGGER only_grows BEFORE DELETE OR TRUNCATE ON audit.head
    FOR EACH STATEMENT EXECUTE FUNCTION audit.deny();
"""

# Under FORCE ROW LEVEL SECURITY the owner has a policy to read and to insert and none to change, so a
# change meets two refusals: no row qualifies, and the statement trigger fires even for no row.
_GUARDS = """
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION audit.deny();
ALTER TABLE audit.{table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit.{table} FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_reads ON audit.{table} FOR SELECT TO gov_owner USING (true);
CREATE POLICY owner_appends ON audit.{table} FOR INSERT TO gov_owner WITH CHECK (true);
CREATE POLICY tenant_reads ON audit.{table} FOR SELECT TO gov_reader
    USING (tenant = current_setting('gov.tenant', true));
GRANT SELECT ON audit.{table} TO gov_reader;
"""

_APPEND = r"""
-- No records: a probe, which locks the head and commits like an append. The answer is the range of this batch
-- (first_seq, n) and the head after it.
CREATE FUNCTION audit.append(
    p_tenant text, p_expected_seq bigint, p_batch_id uuid, p_headers bytea[], p_bodies bytea[],
    p_ts bigint[], p_request uuid[], p_kind smallint[],
    OUT first_seq bigint, OUT n integer, OUT next_seq bigint, OUT last_ts bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_n integer := cardinality(p_headers);
    v_head audit.head;
    v_batch audit.batch;
    v_rows bigint;
BEGIN
    -- A caller with synchronous_commit off would be told "committed" before it is so; only a stricter value stays.
    IF current_setting('synchronous_commit') <> 'remote_apply' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF p_tenant IS NULL OR p_expected_seq IS NULL OR p_batch_id IS NULL OR v_n IS NULL
        OR (v_n, v_n, v_n, v_n) IS DISTINCT FROM (
            cardinality(p_bodies), cardinality(p_ts), cardinality(p_request), cardinality(p_kind))
    THEN
        RAISE EXCEPTION 'append: every argument is needed and all arrays must be of one length'
            USING ERRCODE = 'PA002';
    END IF;

    INSERT INTO audit.head AS h (tenant, next_seq, last_ts) VALUES (p_tenant, 0, 0) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT v_head FROM audit.head h WHERE h.tenant = p_tenant FOR UPDATE;
    n := v_n;
    next_seq := v_head.next_seq;
    last_ts := v_head.last_ts;
    first_seq := v_head.next_seq;
    IF v_n = 0 THEN
        RETURN;
    END IF;

    SELECT * INTO v_batch FROM audit.batch b WHERE b.batch_id = p_batch_id;
    IF FOUND THEN
        IF v_batch.tenant <> p_tenant OR v_batch.n <> v_n THEN
            RAISE EXCEPTION 'append: batch % is known with other contents', p_batch_id USING ERRCODE = 'PA006';
        END IF;
        first_seq := v_batch.first_seq;
        RETURN;
    END IF;

    IF p_expected_seq <> v_head.next_seq OR p_ts[1] < v_head.last_ts THEN
        RAISE EXCEPTION 'append: the head of this log has moved on' USING ERRCODE = 'PA001',
            DETAIL = v_head.next_seq || ' ' || v_head.last_ts;
    END IF;
    -- A header is CBOR and ends with what it commits to: a byte string (0x58) of 32 (0x20), the body's SHA-256.
    IF EXISTS (
        SELECT FROM unnest(p_headers, p_bodies) AS u (header, body)
        WHERE substring(u.header FROM octet_length(u.header) - 33) IS DISTINCT FROM '\x5820'::bytea || sha256(u.body)
    ) THEN
        RAISE EXCEPTION 'append: a header does not commit to its body' USING ERRCODE = 'PA003';
    END IF;
    IF EXISTS (SELECT FROM (SELECT u.ts, lag(u.ts) OVER (ORDER BY u.i) AS before
                            FROM unnest(p_ts) WITH ORDINALITY AS u (ts, i)) AS t WHERE t.ts < t.before) THEN
        RAISE EXCEPTION 'append: time runs backwards inside the batch' USING ERRCODE = 'PA002';
    END IF;

    INSERT INTO audit.batch (batch_id, tenant, first_seq, n) VALUES (p_batch_id, p_tenant, v_head.next_seq, v_n);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> 1 THEN
        RAISE EXCEPTION 'append: the batch row was not stored' USING ERRCODE = 'PA004';
    END IF;
    INSERT INTO audit.header (tenant, seq, ts, request, kind, leaf, raw)
    SELECT p_tenant, v_head.next_seq + u.i - 1, u.ts, u.request, u.kind, sha256('\x00'::bytea || u.header), u.header
    FROM unnest(p_headers, p_ts, p_request, p_kind) WITH ORDINALITY AS u (header, ts, request, kind, i);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> v_n THEN
        RAISE EXCEPTION 'append: % of % headers were stored', v_rows, v_n USING ERRCODE = 'PA004';
    END IF;
    INSERT INTO audit.body (tenant, seq, ts, lasting, data)
    SELECT p_tenant, v_head.next_seq + u.i - 1, u.ts, u.kind >= 40, u.body
    FROM unnest(p_bodies, p_ts, p_kind) WITH ORDINALITY AS u (body, ts, kind, i);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> v_n THEN
        RAISE EXCEPTION 'append: % of % bodies were stored', v_rows, v_n USING ERRCODE = 'PA004';
    END IF;

    next_seq := v_head.next_seq + v_n;
    last_ts := p_ts[v_n];
    UPDATE audit.head h SET next_seq = append.next_seq, last_ts = append.last_ts WHERE h.tenant = p_tenant;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> 1 THEN
        RAISE EXCEPTION 'append: the head was not moved' USING ERRCODE = 'PA004';
    END IF;
END $$;
"""

_CHECKPOINT = """
CREATE FUNCTION audit.record_checkpoint(p_tenant text, p_size bigint, p_root bytea, p_note text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_root bytea;
BEGIN
    IF p_size > coalesce((SELECT h.next_seq FROM audit.head h WHERE h.tenant = p_tenant), 0) THEN
        RAISE EXCEPTION 'checkpoint of % records, but the log is shorter', p_size USING ERRCODE = 'PA007';
    END IF;
    INSERT INTO audit.checkpoint (tenant, size, root, note) VALUES (p_tenant, p_size, p_root, p_note)
        ON CONFLICT DO NOTHING;
    SELECT c.root INTO STRICT v_root FROM audit.checkpoint c WHERE c.tenant = p_tenant AND c.size = p_size;
    IF v_root <> p_root THEN
        RAISE EXCEPTION 'another root is recorded for % records', p_size USING ERRCODE = 'PA007';
    END IF;
END $$;
"""

_RIGHTS = """
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.append, audit.record_checkpoint TO gov_app;
"""


def upgrade() -> None:
    """Add the log: tables, guards, the two functions, and the rights of the two roles."""
    guards = (_GUARDS.format(table=table) for table in ("header", "body", "batch", "checkpoint"))
    for script in (_TABLES, _DENY, *guards, _APPEND, _CHECKPOINT, _RIGHTS):
        op.get_bind().exec_driver_sql(script.replace("%", "%%"))  # the driver reads a lone % as a placeholder

"""The times of a batch are those that `append()` judges, however its caller counts them.

An array of PostgreSQL may begin at any number. Of times that began at 2, `append()` found no first one to hold against the
head of the log, and took the first for the last: so a record of any time, past or future, went in behind it.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_APPEND = r"""
-- No records: a probe, which locks the head and commits like an append. The answer is the range of this batch
-- (first_seq, n) and the head after it.
CREATE OR REPLACE FUNCTION audit.append(
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
    -- A caller may count an array from any number, or in two dimensions, and the times below are looked up by their place.
    IF v_n > 0 AND (array_ndims(p_ts), array_lower(p_ts, 1)) IS DISTINCT FROM (1, 1) THEN
        RAISE EXCEPTION 'append: times are an array that counts from 1' USING ERRCODE = 'PA002';
    END IF;

    SELECT h.* INTO v_head FROM audit.head h WHERE h.tenant = p_tenant FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO audit.head AS h (tenant, next_seq, last_ts) VALUES (p_tenant, 0, 0) ON CONFLICT DO NOTHING;
        SELECT h.* INTO STRICT v_head FROM audit.head h WHERE h.tenant = p_tenant FOR UPDATE;
    END IF;
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
    -- Of the times, which ascend, the last is the greatest. A log that a wrong clock took further ahead may go on from there.
    IF p_ts[v_n] > greatest(v_head.last_ts, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 86400000000) THEN
        RAISE EXCEPTION 'append: a record of more than a day from now' USING ERRCODE = 'PA002';
    END IF;
    FOR i IN 2..v_n LOOP
        IF p_ts[i] < p_ts[i - 1] THEN
            RAISE EXCEPTION 'append: time runs backwards inside the batch' USING ERRCODE = 'PA002';
        END IF;
    END LOOP;

    INSERT INTO audit.batch (batch_id, tenant, first_seq, n) VALUES (p_batch_id, p_tenant, v_head.next_seq, v_n);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> 1 THEN
        RAISE EXCEPTION 'append: the batch row was not stored' USING ERRCODE = 'PA004';
    END IF;
    INSERT INTO audit.header (tenant, seq, ts, request, kind, raw)
    SELECT p_tenant, v_head.next_seq + u.i - 1, u.ts, u.request, u.kind, u.header
    FROM unnest(p_headers, p_ts, p_request, p_kind) WITH ORDINALITY AS u (header, ts, request, kind, i);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> v_n THEN
        RAISE EXCEPTION 'append: % of % headers were stored', v_rows, v_n USING ERRCODE = 'PA004';
    END IF;
    INSERT INTO audit.body (tenant, seq, ts, lasting, data)
    SELECT p_tenant, v_head.next_seq + u.i - 1, u.ts, u.kind >= 40 OR u.kind = 27, u.body
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


def upgrade() -> None:
    """Replace the function; grants and owner stay as they are."""
    op.get_bind().exec_driver_sql(_APPEND.replace("%", "%%"))

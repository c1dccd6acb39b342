"""What a caller says of time and kind destroys no fresh body, and who may decide for whom is kept like the acts.

`append()` refuses a time more than a day ahead of the server's clock: so far may the clocks of two machines differ, a time
zone taken for another included, and no record needs more. Where the record of a retirement is more than an hour ahead of it,
that clock counts.
Bodies of delegations (kind 27) last, as those of acts do: a rule on content must end nobody's right to decide.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
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

_CHECK = """
-- The days of the rule are sealed in its record, and the verifier holds them; here only what headers tell is checked. The time
-- of the retirement is its caller's word, so that what is younger than a day by the server's clock is not old by it either.
CREATE OR REPLACE FUNCTION audit.check_retirement() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_retirement audit.header;
    v_holds bigint;
BEGIN
    NEW.xact := pg_current_xact_id();
    NEW.at := transaction_timestamp();
    -- The head's lock keeps a hold from being recorded between this check and the COMMIT of the removal.
    PERFORM FROM audit.head h WHERE h.tenant = NEW.tenant FOR UPDATE;
    SELECT * INTO v_retirement FROM audit.header h WHERE h.tenant = NEW.tenant AND h.seq = NEW.record_seq AND h.kind = 46;
    IF NOT FOUND OR NEW.last_seq >= NEW.record_seq THEN
        RAISE EXCEPTION 'retire: record % is no retirement of what lies before it', NEW.record_seq USING ERRCODE = 'PA008';
    END IF;
    IF NOT EXISTS (SELECT FROM audit.header h WHERE h.tenant = NEW.tenant AND h.seq < NEW.record_seq AND h.kind = 45) THEN
        RAISE EXCEPTION 'retire: no retention rule was recorded before %', NEW.record_seq USING ERRCODE = 'PA008';
    END IF;
    -- The clock of who retires may be ahead of this one by an hour: an act on record that waited would hold up all others.
    IF least(v_retirement.ts, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 3600000000) - 86400000000 <
        (SELECT max(h.ts) FROM audit.header h WHERE h.tenant = NEW.tenant AND h.seq BETWEEN NEW.first_seq AND NEW.last_seq)
    THEN
        RAISE EXCEPTION 'retire: a rule keeps bodies for a day at the least' USING ERRCODE = 'PA008';
    END IF;
    SELECT count(*) FILTER (WHERE h.kind = 43) - count(*) FILTER (WHERE h.kind = 44) INTO v_holds
    FROM audit.header h WHERE h.tenant = NEW.tenant AND h.kind >= 40;
    IF v_holds > 0 THEN
        RAISE EXCEPTION 'retire: % legal holds stand', v_holds USING ERRCODE = 'PA008';
    END IF;
    RETURN NEW;
END $$;
"""

_RETIRE = """
-- Answers how many bodies it removed; again for the same record it removes nothing.
CREATE OR REPLACE FUNCTION audit.retire(p_tenant text, p_record_seq bigint, p_first_seq bigint, p_last_seq bigint)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_done audit.retired;
    v_rows bigint;
BEGIN
    IF current_setting('synchronous_commit') <> 'remote_apply' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    SELECT * INTO v_done FROM audit.retired r WHERE r.tenant = p_tenant AND r.record_seq = p_record_seq;
    IF FOUND THEN
        IF (v_done.first_seq, v_done.last_seq) IS DISTINCT FROM (p_first_seq, p_last_seq) THEN
            RAISE EXCEPTION 'retire: record % was used for another range', p_record_seq USING ERRCODE = 'PA008';
        END IF;
        RETURN 0;
    END IF;
    INSERT INTO audit.retired (tenant, record_seq, first_seq, last_seq)
        VALUES (p_tenant, p_record_seq, p_first_seq, p_last_seq);
    -- Delegations of before this version are not marked as lasting.
    DELETE FROM audit.body b WHERE b.tenant = p_tenant AND b.seq BETWEEN p_first_seq AND p_last_seq AND NOT b.lasting
        AND NOT EXISTS (SELECT FROM audit.header h WHERE h.tenant = b.tenant AND h.seq = b.seq AND h.kind = 27);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    RETURN v_rows;
END $$;
"""


def upgrade() -> None:
    """Replace the three functions; grants and owner stay as they are."""
    for script in (_APPEND, _CHECK, _RETIRE):
        op.get_bind().exec_driver_sql(script.replace("%", "%%"))

"""How content ends: partitions by month, and bodies that leave only under a retention record.

What may be removed is decided where it is removed: a row of audit.retired passes its checks on insertion, whoever inserts
it, and only bodies that a row of this very transaction names can be deleted, by gov_owner too. SQLSTATE PA008: a
retirement that is not allowed.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_RETIRED = """
CREATE INDEX header_acts ON audit.header (tenant, seq) WHERE kind >= 40;

CREATE TABLE audit.retired (
    tenant text COLLATE "C" NOT NULL,
    record_seq bigint NOT NULL,
    first_seq bigint NOT NULL CHECK (first_seq >= 0),
    last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
    xact xid8 NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant, record_seq)
);
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.retired
    FOR EACH STATEMENT EXECUTE FUNCTION audit.deny();
ALTER TABLE audit.retired ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit.retired FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_reads ON audit.retired FOR SELECT TO gov_owner USING (true);
CREATE POLICY owner_appends ON audit.retired FOR INSERT TO gov_owner WITH CHECK (true);
CREATE POLICY tenant_reads ON audit.retired FOR SELECT TO gov_reader USING (tenant = current_setting('gov.tenant', true));
GRANT SELECT ON audit.retired TO gov_reader;
"""

_CHECK = """
-- The days of the rule are sealed in its record, and the verifier holds them; here only what headers tell is checked.
CREATE FUNCTION audit.check_retirement() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
    IF v_retirement.ts - 86400000000 <
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
CREATE TRIGGER checked BEFORE INSERT ON audit.retired FOR EACH ROW EXECUTE FUNCTION audit.check_retirement();

CREATE FUNCTION audit.deny_unless_retiring() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM audit.retired r WHERE r.xact = pg_current_xact_id() AND r.at = transaction_timestamp()) THEN
        RAISE EXCEPTION '% on audit.body is refused: the log only grows', TG_OP USING ERRCODE = 'PA005';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER only_grows ON audit.body;
CREATE TRIGGER only_grows BEFORE UPDATE OR TRUNCATE ON audit.body FOR EACH STATEMENT EXECUTE FUNCTION audit.deny();
CREATE TRIGGER only_retired BEFORE DELETE ON audit.body FOR EACH STATEMENT EXECUTE FUNCTION audit.deny_unless_retiring();
CREATE POLICY owner_retires ON audit.body FOR DELETE TO gov_owner USING (
    NOT lasting AND EXISTS (
        SELECT FROM audit.retired r
        WHERE r.tenant = body.tenant AND body.seq BETWEEN r.first_seq AND r.last_seq
            AND r.xact = pg_current_xact_id() AND r.at = transaction_timestamp()));
"""

_RETIRE = """
-- Answers how many bodies it removed; again for the same record it removes nothing.
CREATE FUNCTION audit.retire(p_tenant text, p_record_seq bigint, p_first_seq bigint, p_last_seq bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
    DELETE FROM audit.body b WHERE b.tenant = p_tenant AND b.seq BETWEEN p_first_seq AND p_last_seq AND NOT b.lasting;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    RETURN v_rows;
END $$;
"""

_PARTITIONS = """
-- Where event triggers guard the schema, its changes are announced first; without them there is nobody to tell.
CREATE FUNCTION audit.announce(p_note text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regprocedure('guard.permit(text)') IS NOT NULL THEN
        EXECUTE 'SELECT guard.permit($1)' USING p_note;
    END IF;
END $$;

-- A partition is reached through its parent only: no policy, no grant, and no change even by its owner.
CREATE FUNCTION audit.shut_partition(p_name text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.%I'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION audit.deny()', p_name);
    EXECUTE format('ALTER TABLE audit.%I ENABLE ROW LEVEL SECURITY', p_name);
    EXECUTE format('ALTER TABLE audit.%I FORCE ROW LEVEL SECURITY', p_name);
END $$;

CREATE FUNCTION audit.month_start(p_month date) RETURNS bigint LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS 'SELECT (extract(epoch FROM p_month::timestamp) * 1000000)::bigint';

-- Asked of the parent: a partition shows its rows to nobody.
CREATE FUNCTION audit.month_has_bodies(p_month date) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM audit.body b WHERE NOT b.lasting AND b.ts >= audit.month_start(p_month)
                   AND b.ts < audit.month_start((p_month + interval '1 month')::date))
$$;

-- A month that already has bodies in the default partition stays there: PostgreSQL would refuse to take it apart.
CREATE FUNCTION audit.make_partitions(p_ahead integer) RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_this date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
    v_month date;
    v_name text;
    v_made integer := 0;
BEGIN
    FOR v_month IN SELECT generate_series(v_this, v_this + make_interval(months => p_ahead), '1 month') LOOP
        v_name := to_char(v_month, '"body_"YYYY_MM');
        CONTINUE WHEN to_regclass('audit.' || v_name) IS NOT NULL OR audit.month_has_bodies(v_month);
        PERFORM audit.announce('partition ' || v_name);
        EXECUTE format('CREATE TABLE audit.%I PARTITION OF audit.body FOR VALUES FROM (false, %s) TO (false, %s)', v_name,
                       audit.month_start(v_month), audit.month_start((v_month + interval '1 month')::date));
        PERFORM audit.shut_partition(v_name);
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END $$;

CREATE FUNCTION audit.drop_empty_partitions() RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_month date;
    v_name text;
    v_dropped integer := 0;
BEGIN
    FOR v_name, v_month IN
        SELECT c.relname, to_date(right(c.relname, 7), 'YYYY_MM') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit.body'::regclass AND c.relname ~ '^body_[0-9]{4}_[0-9]{2}$'
    LOOP
        CONTINUE WHEN v_month >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') OR audit.month_has_bodies(v_month);
        -- Looked at again once nobody can add to it.
        EXECUTE format('LOCK TABLE audit.%I IN ACCESS EXCLUSIVE MODE', v_name);
        CONTINUE WHEN audit.month_has_bodies(v_month);
        PERFORM audit.announce('drop of the empty partition ' || v_name);
        EXECUTE format('DROP TABLE audit.%I', v_name);
        v_dropped := v_dropped + 1;
    END LOOP;
    RETURN v_dropped;
END $$;

-- For every start and every day: the partitions of this month and the next ones are made, past ones without a body dropped.
CREATE FUNCTION audit.tend_partitions(p_ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF p_ahead IS NULL OR p_ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'partitions: prepare 0 to 24 months ahead' USING ERRCODE = 'PA002';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('audit.tend_partitions', 0));
    RETURN audit.make_partitions(p_ahead) + audit.drop_empty_partitions();
END $$;

SELECT audit.shut_partition('body_rest');
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.retire, audit.tend_partitions TO gov_app;
SELECT audit.tend_partitions();
"""


def upgrade() -> None:
    """Add retirement under records, and partitions that are made ahead of time and dropped when they are empty."""
    for script in (_RETIRED, _CHECK, _RETIRE, _PARTITIONS):
        op.get_bind().exec_driver_sql(script.replace("%", "%%"))

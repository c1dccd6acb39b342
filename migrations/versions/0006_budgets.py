"""Schema app: what of each budget is reserved and spent, and who holds the reservations.

A projection, never evidence: the log says what was consumed. An account is one budget of one key, tenant or workflow; its row
is the lock under which room is counted, and whoever needs several takes them in the order of their ids. What was spent lies in
slices, each with the moment from which its window no longer holds it, so room is what no slice and no reservation takes up.

Nothing here waits for the disk. Write-ahead log is kept in order, so the reservation of a request is as durable as the
request.open that follows it; a settlement that a crash undoes is a lease that expires, and is settled again from the log.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = """
-- Half of each page stays free, so that updates need not touch an index.
CREATE TABLE app.budget_account (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    budget text NOT NULL,
    per text NOT NULL,
    scope text NOT NULL,
    unit text NOT NULL,
    span text CHECK (span IN ('minute', 'hour', 'day', 'month')),
    zone text NOT NULL,
    amount numeric NOT NULL,
    reserved numeric NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    touched_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
CREATE INDEX budget_account_tenant ON app.budget_account (tenant);

CREATE TABLE app.budget_slice (
    account uuid NOT NULL REFERENCES app.budget_account (id) ON DELETE CASCADE,
    until timestamptz NOT NULL,
    spent numeric NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (account, until)
) WITH (fillfactor = 50);

-- `mode` and `prices` are what the money of a request is counted by, whoever settles it.
CREATE TABLE app.budget_lease (
    request uuid PRIMARY KEY,
    tenant text NOT NULL,
    instance uuid NOT NULL,
    mode text NOT NULL,
    prices text NOT NULL,
    expires_at timestamptz NOT NULL,
    settled_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX budget_lease_open ON app.budget_lease (request) WHERE settled_at IS NULL;

-- `held` is still reserved, `spent` was booked so far, lastly in the slice `until`.
CREATE TABLE app.budget_reservation (
    request uuid NOT NULL REFERENCES app.budget_lease (request) ON DELETE CASCADE,
    account uuid NOT NULL REFERENCES app.budget_account (id),
    held numeric NOT NULL,
    spent numeric NOT NULL DEFAULT 0,
    until timestamptz,
    PRIMARY KEY (request, account)
);
CREATE INDEX budget_reservation_account ON app.budget_reservation (account);
"""

_UNTIL = """
-- The moment from which what is spent at p_at lies outside its window. A running window is cut into 60 slices, and one that
-- lies in it by a part counts whole; a month ends where the zone says.
CREATE FUNCTION app.budget_until(p_span text, p_zone text, p_at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE p_span
        WHEN 'minute' THEN date_bin('1 second', p_at, 'epoch') + interval '61 seconds'
        WHEN 'hour' THEN date_bin('1 minute', p_at, 'epoch') + interval '61 minutes'
        WHEN 'day' THEN date_bin('24 minutes', p_at, 'epoch') + interval '24 hours 24 minutes'
        WHEN 'month' THEN (date_trunc('month', p_at AT TIME ZONE p_zone) + interval '1 month') AT TIME ZONE p_zone
    END
$$;
"""

_ASKED = """
CREATE FUNCTION app.budget_asked(p_asks jsonb) RETURNS TABLE (
    id uuid, budget text, per text, scope text, unit text, span text, zone text, amount numeric, needs numeric, forced boolean
) LANGUAGE sql IMMUTABLE AS $$
    SELECT * FROM jsonb_to_recordset(p_asks) AS a (
        id uuid, budget text, per text, scope text, unit text, span text, zone text, amount numeric, needs numeric,
        forced boolean)
$$;
"""

_RESERVE = """
-- Reserve everything that a request asks for, or nothing and answer what had no room: each account, with the seconds after
-- which it will have some if nobody else takes it (NULL where only the end of running requests can say). What is `forced` needs
-- no room. A request that is itself counted is spent at once. Asking again for a request that has a lease changes nothing.
CREATE FUNCTION app.budget_reserve(
    p_request uuid, p_tenant text, p_instance uuid, p_lease interval, p_mode text, p_prices text, p_asks jsonb
) RETURNS TABLE (short uuid, wait_seconds double precision) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO app.budget_account AS b (id, tenant, budget, per, scope, unit, span, zone, amount)
        SELECT a.id, p_tenant, a.budget, a.per, a.scope, a.unit, a.span, a.zone, a.amount FROM app.budget_asked(p_asks) a
        ORDER BY a.id
        ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, zone = excluded.zone, touched_at = clock_timestamp();
    -- Only now, under the locks, is it known what others have taken, and when it is.
    v_now := clock_timestamp();
    IF EXISTS (SELECT FROM app.budget_lease l WHERE l.request = p_request) THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT f.id, extract(epoch FROM min(f.until) FILTER (WHERE f.freed >= f.missing) - v_now)::double precision
        FROM (
            SELECT a.id, s.until, sum(s.spent) OVER (PARTITION BY a.id ORDER BY s.until) AS freed,
                   a.needs + b.reserved + coalesce(sum(s.spent) OVER (PARTITION BY a.id), 0) - a.amount AS missing
            FROM app.budget_asked(p_asks) a JOIN app.budget_account b ON b.id = a.id
            LEFT JOIN app.budget_slice s ON s.account = a.id AND s.until > v_now
            WHERE NOT a.forced
        ) f WHERE f.missing > 0 GROUP BY f.id;
    IF FOUND THEN
        RETURN;
    END IF;
    INSERT INTO app.budget_lease (request, tenant, instance, mode, prices, expires_at)
        VALUES (p_request, p_tenant, p_instance, p_mode, p_prices, v_now + p_lease);
    INSERT INTO app.budget_reservation (request, account, held, spent, until)
        SELECT p_request, a.id, CASE a.unit WHEN 'requests' THEN 0 ELSE a.needs END,
               CASE a.unit WHEN 'requests' THEN a.needs ELSE 0 END, app.budget_until(a.span, a.zone, v_now)
        FROM app.budget_asked(p_asks) a;
    UPDATE app.budget_account b SET reserved = b.reserved + r.held
        FROM app.budget_reservation r WHERE r.request = p_request AND r.account = b.id AND r.held > 0;
    INSERT INTO app.budget_slice AS s (account, until, spent)
        SELECT r.account, r.until, r.spent FROM app.budget_reservation r WHERE r.request = p_request AND r.spent > 0
        ON CONFLICT (account, until) DO UPDATE SET spent = s.spent + excluded.spent;
END $$;
"""

_SETTLE = """
-- Lock the accounts that a request draws on, in the order in which everybody does; false if it has no lease.
CREATE FUNCTION app.budget_lock(p_request uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_found boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM FROM app.budget_lease l WHERE l.request = p_request FOR UPDATE;
    v_found := FOUND;
    PERFORM FROM app.budget_account b
        WHERE b.id IN (SELECT r.account FROM app.budget_reservation r WHERE r.request = p_request) ORDER BY b.id FOR UPDATE;
    RETURN v_found;
END $$;

-- Free what a request still holds and book what it consumed (by unit). A second time only what was not yet booked is booked, so
-- that settling twice changes nothing, and a truth that comes after the lease has expired is not lost.
CREATE FUNCTION app.budget_settle(p_request uuid, p_used jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz;
BEGIN
    IF NOT app.budget_lock(p_request) THEN
        RETURN false;
    END IF;
    v_now := clock_timestamp();
    UPDATE app.budget_account b SET reserved = b.reserved - r.held, touched_at = v_now
        FROM app.budget_reservation r WHERE r.request = p_request AND r.account = b.id;
    INSERT INTO app.budget_slice AS s (account, until, spent)
        SELECT b.id, app.budget_until(b.span, b.zone, v_now), (p_used ->> b.unit)::numeric - r.spent
        FROM app.budget_reservation r JOIN app.budget_account b ON b.id = r.account
        WHERE r.request = p_request AND (p_used ->> b.unit)::numeric > r.spent AND b.span IS NOT NULL
        ON CONFLICT (account, until) DO UPDATE SET spent = s.spent + excluded.spent;
    UPDATE app.budget_reservation r SET held = 0, spent = greatest(r.spent, (p_used ->> b.unit)::numeric)
        FROM app.budget_account b WHERE r.request = p_request AND b.id = r.account;
    UPDATE app.budget_lease l SET settled_at = v_now WHERE l.request = p_request AND l.settled_at IS NULL;
    RETURN true;
END $$;

-- The request never came to be: everything is given back, the count of requests too.
CREATE FUNCTION app.budget_cancel(p_request uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT app.budget_lock(p_request) OR EXISTS (
        SELECT FROM app.budget_lease l WHERE l.request = p_request AND l.settled_at IS NOT NULL)
    THEN
        RETURN false;
    END IF;
    UPDATE app.budget_account b SET reserved = b.reserved - r.held
        FROM app.budget_reservation r WHERE r.request = p_request AND r.account = b.id;
    UPDATE app.budget_slice s SET spent = s.spent - r.spent
        FROM app.budget_reservation r WHERE r.request = p_request AND r.account = s.account AND r.until = s.until;
    DELETE FROM app.budget_lease l WHERE l.request = p_request;
    RETURN true;
END $$;
"""

_PRUNE = """
-- Forget what no longer counts: slices outside their windows, leases settled a day ago, accounts that nobody draws on. One that
-- somebody has just locked is left for the next time.
CREATE FUNCTION app.budget_prune() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM app.budget_lease l WHERE l.request IN (
        SELECT o.request FROM app.budget_lease o WHERE o.settled_at < now() - interval '1 day' FOR UPDATE SKIP LOCKED);
    DELETE FROM app.budget_account b WHERE b.id IN (
        SELECT o.id FROM app.budget_account o
        WHERE o.reserved = 0
            AND o.touched_at < now() - CASE o.span WHEN 'month' THEN interval '33 days' ELSE interval '3 days' END
        FOR UPDATE SKIP LOCKED);
    DELETE FROM app.budget_slice s WHERE (s.account, s.until) IN (
        SELECT o.account, o.until FROM app.budget_slice o WHERE o.until < now() FOR UPDATE SKIP LOCKED);
END $$;
"""


def upgrade() -> None:
    """Add the accounts of budgets, what is spent and reserved on them, and the functions that do so under their locks."""
    for script in (_TABLES, _UNTIL, _ASKED, _RESERVE, _SETTLE, _PRUNE):
        op.get_bind().exec_driver_sql(script)

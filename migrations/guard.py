"""Schema guard: event triggers that refuse a change of schema audit that was not announced. Only a superuser can make them.

The tag and the schema that PostgreSQL reports for a command do not suffice: the schema is NULL for CREATE RULE, CREATE
TRIGGER, GRANT and REVOKE, and after SET SCHEMA or RENAME it is another. So a command is judged by its effect: once it has
run, the fingerprint of schema audit, each partition by itself, must be the one that the last announced change left. Drops are
judged by what they drop as well. `guard.permit(note)` announces: it leaves a row that gov_owner cannot remove, and opens the
schema until the end of that transaction.

A superuser is let through, for he could switch the triggers off as well; what he leaves behind is found by the fingerprint.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from migrations.fingerprint import Months, fingerprint, fingerprint_query

OLD_GUARDS = frozenset(("c460491228d06baf6a04765e0d77c26cae9db7659cbe7bfbf2b112bd1889ce82",))
"""Fingerprints of schema guard as older releases made it: all but `guard.fingerprint()` is like today's."""

_FINGERPRINT = """
CREATE OR REPLACE FUNCTION guard.fingerprint() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fingerprint${query}$fingerprint$;
"""
_SCRIPT = """
CREATE SCHEMA guard;
REVOKE ALL ON SCHEMA guard FROM PUBLIC;
GRANT USAGE ON SCHEMA guard TO gov_owner;

-- `settled` is the fingerprint of schema audit when the transaction came to its end.
CREATE TABLE guard.permit (
    xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT transaction_timestamp(),
    login name NOT NULL DEFAULT session_user,
    note text NOT NULL,
    settled text,
    PRIMARY KEY (xact, at)
);

{fingerprint}
CREATE FUNCTION guard.settle() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE guard.permit p SET settled = guard.fingerprint() WHERE (p.xact, p.at) = (NEW.xact, NEW.at);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER settle AFTER INSERT ON guard.permit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION guard.settle();

CREATE FUNCTION guard.permit(p_note text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'INSERT INTO guard.permit (note) VALUES (p_note) ON CONFLICT DO NOTHING';

CREATE FUNCTION guard.permitted() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = session_user)
        OR EXISTS (SELECT FROM guard.permit p
                   WHERE (p.xact, p.at) = (pg_current_xact_id_if_assigned(), transaction_timestamp()))
$$;

CREATE FUNCTION guard.on_command() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT guard.permitted() AND guard.fingerprint() IS DISTINCT FROM
        (SELECT p.settled FROM guard.permit p WHERE p.settled IS NOT NULL ORDER BY p.at DESC, p.xact DESC LIMIT 1)
    THEN
        RAISE EXCEPTION '% is refused: it changes schema audit and was not announced', TG_TAG USING ERRCODE = 'PA005';
    END IF;
END $$;

CREATE FUNCTION guard.on_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT guard.permitted() AND EXISTS (
        SELECT FROM pg_event_trigger_dropped_objects() d
        WHERE d.schema_name IN ('audit', 'guard') OR d.address_names[1] IN ('audit', 'guard'))
    THEN
        RAISE EXCEPTION '% is refused: it removes a part of schema audit and was not announced', TG_TAG
            USING ERRCODE = 'PA005';
    END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA guard FROM PUBLIC;
GRANT EXECUTE ON FUNCTION guard.permit TO gov_owner;
CREATE EVENT TRIGGER guard_commands ON ddl_command_end EXECUTE FUNCTION guard.on_command();
CREATE EVENT TRIGGER guard_drops ON sql_drop EXECUTE FUNCTION guard.on_drop();
SELECT guard.permit('guard installed');
"""


def ensure_guard(connection: Connection) -> None:
    """Install the guard in the connection's database, as a superuser, or renew one that an older release installed.

    One that is neither this release's nor an older one's is left as it is, for `catalog.judge` to refuse. What the old one let
    pass, because it saw less, `catalog.judge` sees at the end of the upgrade.
    """
    function = _FINGERPRINT.replace("{query}", fingerprint_query("'audit'", Months.EACH))
    if connection.execute(text("SELECT to_regnamespace('guard') IS NULL")).scalar_one():
        script = _SCRIPT.replace("{fingerprint}", function)
    elif fingerprint(connection, "guard") in OLD_GUARDS:
        script = function + "SELECT guard.permit('guard renewed');"
    else:
        return
    connection.exec_driver_sql(script.replace("%", "%%"))


def announce(connection: Connection, note: str) -> None:
    """Open schema audit for the rest of this transaction and leave a row that says why; without a guard it is open anyway."""
    if connection.execute(text("SELECT to_regprocedure('guard.permit(text)') IS NOT NULL")).scalar_one():
        connection.execute(text("SELECT guard.permit(:note)"), {"note": note})

"""The one query behind the catalog fingerprint; `catalog.py` compares it, and the guard keeps a copy in the database.

Every line is the whole description of one object, so a change anywhere in it changes the line. To a schema belong its relations
and, wherever they are, all that inherit from one of them: a partition that was moved away still holds rows of its table.

Months come and go, so a release cannot know which there are. It takes them as ALIKE: a month's partition is described without
its name, provided that it has the bounds of its name, and all that are alike are one line. The guard takes EACH by itself.
"""

from __future__ import annotations

from enum import Enum

from sqlalchemy import Connection, text


class Months(Enum):
    """How partitions by month are described."""

    ALIKE = "alike"
    EACH = "each"


_OWNER = """(SELECT CASE WHEN o.rolsuper THEN '(superuser)' ELSE o.rolname END FROM pg_roles o WHERE o.oid = {oid})"""
_GRANTS = """(SELECT coalesce(string_agg(CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE {grantee} END || ' ' || g.privilege_type
        || ' ' || g.is_grantable, ', ' ORDER BY g.grantee = 0, pg_get_userbyid(g.grantee), g.privilege_type), '')
    FROM aclexplode(coalesce({acl}, acldefault('{type}', {owner}))) g WHERE g.grantee <> {owner})"""
_COLUMNS = """(SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
        || a.attstorage::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' ' || coalesce(a.attacl::text, ''),
        ', ' ORDER BY a.attnum)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)"""
_CONSTRAINTS = """(SELECT string_agg(k.conname || ' ' || pg_get_constraintdef(k.oid) || ' ' || k.convalidated, ', '
        ORDER BY k.conname)
    FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x'))"""
_INDEXES = """(SELECT string_agg(pg_get_indexdef(x.indexrelid) || ' ' || x.indisvalid, ', '
        ORDER BY pg_get_indexdef(x.indexrelid) COLLATE "C")
    FROM pg_index x WHERE x.indrelid = c.oid)"""
_TRIGGERS = """(SELECT string_agg(pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text, ', ' ORDER BY t.tgname)
    FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)"""
_RULES = """(SELECT string_agg(pg_get_ruledef(r.oid) || ' ' || r.ev_enabled::text, ', ' ORDER BY r.rulename)
    FROM pg_rewrite r WHERE r.ev_class = c.oid)"""
_POLICIES = """(SELECT string_agg(p.polname || ' ' || p.polcmd::text || ' ' || p.polpermissive || ' '
        || (SELECT string_agg(CASE u WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(u) END, ' ' ORDER BY pg_get_userbyid(u))
            FROM unnest(p.polroles) u)
        || ' ' || coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' '
        || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''), ', ' ORDER BY p.polname)
    FROM pg_policy p WHERE p.polrelid = c.oid)"""
_PARENTS = """(SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhparent::regclass::text COLLATE "C")
    FROM pg_inherits i WHERE i.inhrelid = c.oid)"""
_PARTS = (_COLUMNS, _CONSTRAINTS, _INDEXES, _TRIGGERS, _RULES, _POLICIES, _PARENTS)
_MONTH = """to_date(substring(c.relname FROM '^body_(2[0-9]{3}_(0[1-9]|1[0-2]))$'), 'YYYY_MM')::timestamp"""
_BOUNDS = """(SELECT CASE WHEN b.bounds = 'FOR VALUES FROM (false, ''' || {start} || ''') TO (false, ''' || {stop} || ''')'
        THEN 'the month of its name' ELSE b.bounds END FROM (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b (bounds))"""
_MICROSECONDS = "(extract(epoch FROM {moment}) * 1000000)::bigint"

_QUERY = """
WITH RECURSIVE family (oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = {schema} AND c.relkind NOT IN ('i', 'I')
    UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent
)
SELECT encode(sha256(convert_to(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE "C"), ''), 'UTF8')), 'hex') FROM (
    SELECT 'schema ' || n.nspname || ' ' || {owner of n.nspowner} || ' ' || {grants on schema} AS line
    FROM pg_namespace n WHERE n.nspname = {schema}
    UNION
    SELECT {relation}
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN family ON family.oid = c.oid
    UNION
    SELECT 'function ' || f.oid::regprocedure || ' ' || f.prorettype::regtype || ' ' || f.proretset || ' ' || l.lanname || ' '
        || f.prosecdef || ' ' || f.provolatile::text || ' ' || f.proisstrict || ' '
        || coalesce(array_to_string(f.proconfig, ','), '') || ' ' || {owner of f.proowner} || ' '
        || {grants on function} || ' | ' || f.prosrc
    FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace JOIN pg_language l ON l.oid = f.prolang
    WHERE n.nspname = {schema}
    UNION
    SELECT 'default rights ' || pg_get_userbyid(d.defaclrole) || ' ' || d.defaclobjtype::text || ' ' || d.defaclacl::text
    FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE n.nspname = {schema}
    UNION
    SELECT 'event trigger ' || e.evtname || ' ' || e.evtevent || ' ' || e.evtenabled::text || ' '
        || coalesce(e.evttags::text, '') || ' ' || f.proname
    FROM pg_event_trigger e JOIN pg_proc f ON f.oid = e.evtfoid JOIN pg_namespace n ON n.oid = f.pronamespace
    WHERE n.nspname = {schema}
) AS described
"""
_RELATION = """'relation ' || n.nspname || '.' || c.relname || ' ' || c.relkind::text || ' ' || c.relpersistence::text || ' '
        || c.relispartition || ' ' || coalesce({bounds}, '') || ' ' || c.relrowsecurity || ' ' || c.relforcerowsecurity
        || ' ' || {owner of c.relowner} || ' ' || {grants on relation}
        || {parts of relation}"""


def _owner(oid: str) -> str:
    # A superuser's name differs from one installation to the next; that it is one does not.
    return _OWNER.replace("{oid}", oid)


def _grants(acl: str, type_: str, owner: str) -> str:
    filled = _GRANTS.replace("{grantee}", _owner("g.grantee")).replace("{acl}", acl)
    return filled.replace("{type}", type_).replace("{owner}", owner)


def _bounds() -> str:
    start, stop = (_MICROSECONDS.replace("{moment}", moment) for moment in (_MONTH, f"{_MONTH} + interval '1 month'"))
    return _BOUNDS.replace("{start}", start).replace("{stop}", stop)


def _relation(months: Months) -> str:
    if months is Months.EACH:
        return _RELATION
    return "regexp_replace({relation}, 'body_[0-9]{4}_[0-9]{2}', 'body_month', 'g')".replace("{relation}", _RELATION)


def _blanks() -> dict[str, str]:
    """What stands for each name in braces."""
    return {
        "bounds": _bounds(),
        "owner of n.nspowner": _owner("n.nspowner"),
        "owner of c.relowner": _owner("c.relowner"),
        "owner of f.proowner": _owner("f.proowner"),
        "grants on schema": _grants("n.nspacl", "n", "n.nspowner"),
        "grants on relation": _grants("c.relacl", "r", "c.relowner"),
        "grants on function": _grants("f.proacl", "f", "f.proowner"),
        "parts of relation": " || ".join(f"' | ' || coalesce({part}, '')" for part in _PARTS),
    }


def fingerprint_query(schema: str, months: Months) -> str:
    """SQL that answers the fingerprint; `schema` is an SQL expression for the name of the schema, never a caller's text."""
    query = _QUERY.replace("{relation}", _relation(months))
    for name, filling in {**_blanks(), "schema": schema}.items():
        query = query.replace("{" + name + "}", filling)
    return query


def fingerprint(connection: Connection, schema: str) -> str:
    """The fingerprint of a schema as it stands, 64 hexadecimal digits; any role may ask."""
    connection.execute(text("SET LOCAL search_path = pg_catalog"))
    return str(connection.exec_driver_sql(fingerprint_query(f"'{schema}'", Months.ALIKE).replace("%", "%%")).scalar_one())


SELECT encode(sha256(convert_to(coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), ''), 'UTF8')), 'hex') FROM (
    SELECT 'schema ' || n.nspname || ' ' || (SELECT CASE WHEN o.rolsuper THEN '(superuser)' ELSE o.rolname END FROM pg_roles o WHERE o.oid = n.nspowner) || ' ' || (SELECT coalesce(string_agg(CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE (SELECT CASE WHEN o.rolsuper THEN '(superuser)' ELSE o.rolname END FROM pg_roles o WHERE o.oid = g.grantee) END || ' ' || g.privilege_type
        || ' ' || g.is_grantable, ', ' ORDER BY g.grantee = 0, pg_get_userbyid(g.grantee), g.privilege_type), '')
    FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) g WHERE g.grantee <> n.nspowner) AS line
    FROM pg_namespace n WHERE n.nspname = 'audit'
    UNION
    SELECT regexp_replace('relation ' || c.relname || ' ' || c.relkind::text || ' ' || c.relpersistence::text || ' '
        || c.relispartition || ' ' || c.relrowsecurity || ' ' || c.relforcerowsecurity || ' ' || (SELECT CASE WHEN o.rolsuper THEN '(superuser)' ELSE o.rolname END FROM pg_roles o WHERE o.oid = c.relowner)
        || ' ' || (SELECT coalesce(string_agg(CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE (SELECT CASE WHEN o.rolsuper THEN '(superuser)' ELSE o.rolname END FROM pg_roles o WHERE o.oid = g.grantee) END || ' ' || g.privilege_type
        || ' ' || g.is_grantable, ', ' ORDER BY g.grantee = 0, pg_get_userbyid(g.grantee), g.privilege_type), '')
    FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) g WHERE g.grantee <> c.relowner)
        || ' | ' || coalesce((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
        || a.attstorage::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' ' || coalesce(a.attacl::text, ''),
        ', ' ORDER BY a.attnum)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '') || ' | ' || coalesce((SELECT string_agg(k.conname || ' ' || pg_get_constraintdef(k.oid) || ' ' || k.convalidated, ', '
        ORDER BY k.conname)
    FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')), '') || ' | ' || coalesce((SELECT string_agg(pg_get_indexdef(x.indexrelid) || ' ' || x.indisvalid, ', '
        ORDER BY pg_get_indexdef(x.indexrelid) COLLATE "C")
    FROM pg_index x WHERE x.indrelid = c.oid), '') || ' | ' || coalesce((SELECT string_agg(pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text, ', ' ORDER BY t.tgname)
    FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal), '') || ' | ' || coalesce((SELECT string_agg(pg_get_ruledef(r.oid) || ' ' || r.ev_enabled::text, ', ' ORDER BY r.rulename)
    FROM pg_rewrite r WHERE r.ev_class = c.oid), '') || ' | ' || coalesce((SELECT string_agg(p.polname || ' ' || p.polcmd::text || ' ' || p.polpermissive || ' '
        || (SELECT string_agg(CASE u WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(u) END, ' ' ORDER BY pg_get_userbyid(u))
            FROM unnest(p.polroles) u)
        || ' ' || coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' '
        || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''), ', ' ORDER BY p.polname)
    FROM pg_policy p WHERE p.polrelid = c.oid), '') || ' | ' || coalesce((SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhparent::regclass::text COLLATE "C")
    FROM pg_inherits i WHERE i.inhrelid = c.oid), ''),
        'body_[0-9]{4}_[0-9]{2}', 'body_month', 'g')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'audit' AND c.relkind NOT IN ('i', 'I')
    UNION
    SELECT 'function ' || f.oid::regprocedure || ' ' || f.prorettype::regtype || ' ' || f.proretset || ' ' || l.lanname || ' '
        || f.prosecdef || ' ' || f.provolatile::text || ' ' || f.proisstrict || ' '
        || coalesce(array_to_string(f.proconfig, ','), '') || ' ' || (SELECT CASE WHEN o.rolsuper THEN '(superuser)' ELSE o.rolname END FROM pg_roles o WHERE o.oid = f.proowner) || ' '
        || (SELECT coalesce(string_agg(CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE (SELECT CASE WHEN o.rolsuper THEN '(superuser)' ELSE o.rolname END FROM pg_roles o WHERE o.oid = g.grantee) END || ' ' || g.privilege_type
        || ' ' || g.is_grantable, ', ' ORDER BY g.grantee = 0, pg_get_userbyid(g.grantee), g.privilege_type), '')
    FROM aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) g WHERE g.grantee <> f.proowner) || ' | ' || f.prosrc
    FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace JOIN pg_language l ON l.oid = f.prolang
    WHERE n.nspname = 'audit'
    UNION
    SELECT 'default rights ' || pg_get_userbyid(d.defaclrole) || ' ' || d.defaclobjtype::text || ' ' || d.defaclacl::text
    FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE n.nspname = 'audit'
    UNION
    SELECT 'event trigger ' || e.evtname || ' ' || e.evtevent || ' ' || e.evtenabled::text || ' '
        || coalesce(e.evttags::text, '') || ' ' || f.proname
    FROM pg_event_trigger e JOIN pg_proc f ON f.oid = e.evtfoid JOIN pg_namespace n ON n.oid = f.pronamespace
    WHERE n.nspname = 'audit'
) AS described

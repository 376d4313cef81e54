-- The revision of each object's last change. Triggers note it, so that a router of the release before keeps it right too:
-- every writer counts the registry's revision up before it writes a row.

ALTER TABLE extensions ADD COLUMN revision bigint;
ALTER TABLE policies ADD COLUMN revision bigint;
ALTER TABLE keys ADD COLUMN revision bigint;

UPDATE extensions SET revision = COALESCE(
    (SELECT max(log.revision) FROM extension_audit_log AS log
     WHERE log.object_kind = 'extension' AND log.object_id = extensions.id),
    (SELECT registry_revision.revision FROM registry_revision));
UPDATE policies SET revision = COALESCE(
    (SELECT max(log.revision) FROM extension_audit_log AS log
     WHERE log.object_kind = 'policy' AND log.object_id = policies.tenant_id || '/' || policies.policy_id),
    (SELECT registry_revision.revision FROM registry_revision));
UPDATE keys SET revision = (SELECT registry_revision.revision FROM registry_revision);

CREATE FUNCTION note_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := (SELECT registry_revision.revision FROM registry_revision);
    RETURN NEW;
END
$$;
CREATE TRIGGER extensions_revision BEFORE INSERT OR UPDATE ON extensions
    FOR EACH ROW EXECUTE FUNCTION note_revision();
CREATE TRIGGER policies_revision BEFORE INSERT OR UPDATE ON policies
    FOR EACH ROW EXECUTE FUNCTION note_revision();
CREATE TRIGGER keys_revision BEFORE INSERT OR UPDATE ON keys
    FOR EACH ROW EXECUTE FUNCTION note_revision();

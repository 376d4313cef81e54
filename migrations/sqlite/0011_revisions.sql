-- The revision of each object's last change. Triggers note it, so that a router of the release before keeps it right too:
-- every writer counts the registry's revision up before it writes a row.

ALTER TABLE extensions ADD COLUMN revision INTEGER;
ALTER TABLE policies ADD COLUMN revision INTEGER;
ALTER TABLE keys ADD COLUMN revision INTEGER;

UPDATE extensions SET revision = COALESCE(
    (SELECT max(log.revision) FROM extension_audit_log AS log
     WHERE log.object_kind = 'extension' AND log.object_id = extensions.id),
    (SELECT registry_revision.revision FROM registry_revision));
UPDATE policies SET revision = COALESCE(
    (SELECT max(log.revision) FROM extension_audit_log AS log
     WHERE log.object_kind = 'policy' AND log.object_id = policies.tenant_id || '/' || policies.policy_id),
    (SELECT registry_revision.revision FROM registry_revision));
UPDATE keys SET revision = (SELECT registry_revision.revision FROM registry_revision);

CREATE TRIGGER extensions_revision_insert AFTER INSERT ON extensions
BEGIN
    UPDATE extensions SET revision = (SELECT registry_revision.revision FROM registry_revision)
    WHERE id = NEW.id;
END;

CREATE TRIGGER extensions_revision_update AFTER UPDATE ON extensions
    WHEN NEW.revision IS OLD.revision
BEGIN
    UPDATE extensions SET revision = (SELECT registry_revision.revision FROM registry_revision)
    WHERE id = NEW.id;
END;

CREATE TRIGGER policies_revision_insert AFTER INSERT ON policies
BEGIN
    UPDATE policies SET revision = (SELECT registry_revision.revision FROM registry_revision)
    WHERE tenant_id = NEW.tenant_id AND policy_id = NEW.policy_id;
END;

CREATE TRIGGER policies_revision_update AFTER UPDATE ON policies
    WHEN NEW.revision IS OLD.revision
BEGIN
    UPDATE policies SET revision = (SELECT registry_revision.revision FROM registry_revision)
    WHERE tenant_id = NEW.tenant_id AND policy_id = NEW.policy_id;
END;

CREATE TRIGGER keys_revision_insert AFTER INSERT ON keys
BEGIN
    UPDATE keys SET revision = (SELECT registry_revision.revision FROM registry_revision)
    WHERE id = NEW.id;
END;

CREATE TRIGGER keys_revision_update AFTER UPDATE ON keys
    WHEN NEW.revision IS OLD.revision
BEGIN
    UPDATE keys SET revision = (SELECT registry_revision.revision FROM registry_revision)
    WHERE id = NEW.id;
END;

-- The audit log: who, by which key, and also what was refused; and a chain of hashes over its rows, in a table of its own,
-- because rows are never changed. A router adds to the chain a moment after the row, so that no change waits for it.
--
-- Where the operator gives the router a role that does not own these tables, the database itself keeps the router from
-- changing history. With the owner `beamline_audit` and the router `beamline`:
--   ALTER TABLE extension_audit_log OWNER TO beamline_audit;
--   ALTER TABLE audit_chain OWNER TO beamline_audit;
--   ALTER TABLE audit_prunings OWNER TO beamline_audit;
--   GRANT SELECT, INSERT ON extension_audit_log, audit_chain, audit_prunings TO beamline;
-- `beamline-router audit prune` then needs a database.url of the owner. A later migration of these tables needs the owner too.

ALTER TABLE extension_audit_log ADD COLUMN key_id text;
ALTER TABLE extension_audit_log ADD COLUMN role text;
ALTER TABLE extension_audit_log ADD COLUMN tenant_id text;
ALTER TABLE extension_audit_log ADD COLUMN address text;
ALTER TABLE extension_audit_log ADD COLUMN reason text;
ALTER TABLE extension_audit_log ADD COLUMN outcome text NOT NULL DEFAULT 'done';
ALTER TABLE extension_audit_log ADD COLUMN error_code text;
ALTER TABLE extension_audit_log ADD COLUMN request_id text;
CREATE INDEX extension_audit_log_at ON extension_audit_log (recorded_at);

CREATE TABLE audit_chain (
    seq bigint PRIMARY KEY,
    row_id bigint NOT NULL UNIQUE,
    vouched boolean NOT NULL,
    hash text NOT NULL
);

-- What was taken away, and where the chain goes on.
CREATE TABLE audit_prunings (
    last_seq bigint PRIMARY KEY,
    last_hash text NOT NULL,
    before text NOT NULL,
    by_key text,
    pruned_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE FUNCTION refuse_deletion_of_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'extension_audit_log' AND EXISTS (
        SELECT 1 FROM audit_chain AS link
        WHERE link.row_id = OLD.id AND link.seq <= (SELECT max(last_seq) FROM audit_prunings)
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'extension_audit_log is append-only';
END
$$;
DROP TRIGGER extension_audit_log_append_only ON extension_audit_log;
CREATE TRIGGER extension_audit_log_append_only
    BEFORE UPDATE OR TRUNCATE ON extension_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER extension_audit_log_no_delete
    BEFORE DELETE ON extension_audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_deletion_of_history();

CREATE FUNCTION refuse_deletion_of_links() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.seq <= (SELECT max(last_seq) FROM audit_prunings) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_chain is append-only';
END
$$;
CREATE TRIGGER audit_chain_append_only
    BEFORE UPDATE OR TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
CREATE TRIGGER audit_chain_no_delete
    BEFORE DELETE ON audit_chain
    FOR EACH ROW EXECUTE FUNCTION refuse_deletion_of_links();
CREATE TRIGGER audit_prunings_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_prunings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

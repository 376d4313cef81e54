-- The audit log: who, by which key, and also what was refused; and a chain of hashes over its rows, in a table of its own,
-- because rows are never changed. A router adds to the chain a moment after the row, so that no change waits for it.
-- SQLite knows no roles: whoever can write the file can change everything in it. `audit verify` with a head that was kept
-- elsewhere tells.

ALTER TABLE extension_audit_log ADD COLUMN key_id TEXT;
ALTER TABLE extension_audit_log ADD COLUMN role TEXT;
ALTER TABLE extension_audit_log ADD COLUMN tenant_id TEXT;
ALTER TABLE extension_audit_log ADD COLUMN address TEXT;
ALTER TABLE extension_audit_log ADD COLUMN reason TEXT;
ALTER TABLE extension_audit_log ADD COLUMN outcome TEXT NOT NULL DEFAULT 'done';
ALTER TABLE extension_audit_log ADD COLUMN error_code TEXT;
ALTER TABLE extension_audit_log ADD COLUMN request_id TEXT;
CREATE INDEX extension_audit_log_at ON extension_audit_log (recorded_at);

CREATE TABLE audit_chain (
    seq INTEGER PRIMARY KEY NOT NULL,
    row_id INTEGER NOT NULL UNIQUE,
    vouched INTEGER NOT NULL CHECK (vouched IN (0, 1)),
    hash TEXT NOT NULL
);

-- What was taken away, and where the chain goes on.
CREATE TABLE audit_prunings (
    last_seq INTEGER PRIMARY KEY NOT NULL,
    last_hash TEXT NOT NULL,
    before TEXT NOT NULL,
    by_key TEXT,
    pruned_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);

DROP TRIGGER extension_audit_log_no_delete;
CREATE TRIGGER extension_audit_log_no_delete BEFORE DELETE ON extension_audit_log
    WHEN NOT EXISTS (
        SELECT 1 FROM audit_chain AS link
        WHERE link.row_id = OLD.id AND link.seq <= (SELECT max(last_seq) FROM audit_prunings)
    )
BEGIN
    SELECT RAISE(ABORT, 'extension_audit_log is append-only');
END;
CREATE TRIGGER audit_chain_no_update BEFORE UPDATE ON audit_chain
BEGIN
    SELECT RAISE(ABORT, 'audit_chain is append-only');
END;
CREATE TRIGGER audit_chain_no_delete BEFORE DELETE ON audit_chain
    WHEN OLD.seq > COALESCE((SELECT max(last_seq) FROM audit_prunings), -1)
BEGIN
    SELECT RAISE(ABORT, 'audit_chain is append-only');
END;
CREATE TRIGGER audit_prunings_no_update BEFORE UPDATE ON audit_prunings
BEGIN
    SELECT RAISE(ABORT, 'audit_prunings is append-only');
END;
CREATE TRIGGER audit_prunings_no_delete BEFORE DELETE ON audit_prunings
BEGIN
    SELECT RAISE(ABORT, 'audit_prunings is append-only');
END;

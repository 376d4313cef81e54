-- The registry: extensions, policies, and the revision that orders every change of them.
-- The same tables as in Postgres; booleans are 0 and 1, JSON is text that was checked.

CREATE TABLE registry_revision (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0)
);
INSERT INTO registry_revision (revision) VALUES (0);

CREATE TABLE extensions (
    id TEXT PRIMARY KEY NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('pre', 'validator', 'post', 'provider')),
    subject TEXT,
    timeout_ms INTEGER NOT NULL CHECK (timeout_ms > 0),
    retry INTEGER NOT NULL CHECK (retry >= 0),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    version TEXT NOT NULL,
    config TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(config)),
    metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE UNIQUE INDEX extensions_id_any_case ON extensions (lower(id));

CREATE TABLE extension_versions (
    extension_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    version TEXT NOT NULL,
    subject TEXT,
    timeout_ms INTEGER CHECK (timeout_ms > 0),
    retry INTEGER CHECK (retry >= 0),
    config TEXT CHECK (config IS NULL OR json_valid(config)),
    routing_rules TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(routing_rules)),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    PRIMARY KEY (extension_id, version)
);

CREATE TABLE extension_instances (
    extension_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    instance_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    weight INTEGER NOT NULL CHECK (weight BETWEEN 0 AND 100),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    PRIMARY KEY (extension_id, instance_id)
);

-- What each replica last saw; never read on the way of a request.
CREATE TABLE extension_health (
    extension_id TEXT NOT NULL,
    replica TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('healthy', 'degraded', 'unhealthy', 'unknown')),
    success_rate REAL CHECK (success_rate BETWEEN 0 AND 1),
    latency_ms REAL,
    last_success_at TEXT,
    last_failure_at TEXT,
    updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (extension_id, replica)
);

CREATE TABLE policies (
    tenant_id TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (tenant_id, policy_id)
);
CREATE UNIQUE INDEX policies_id_any_case ON policies (tenant_id, lower(policy_id));

-- History has no foreign keys: it outlives what it is about, and ids are copied as text.
CREATE TABLE extension_audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    revision INTEGER NOT NULL,
    source TEXT NOT NULL,
    actor TEXT,
    trace_id TEXT,
    action TEXT NOT NULL,
    object_kind TEXT NOT NULL,
    object_id TEXT NOT NULL,
    before TEXT CHECK (before IS NULL OR json_valid(before)),
    after TEXT CHECK (after IS NULL OR json_valid(after))
);
CREATE INDEX extension_audit_log_object ON extension_audit_log (object_kind, object_id, id);

CREATE TRIGGER extension_audit_log_no_update BEFORE UPDATE ON extension_audit_log
BEGIN
    SELECT RAISE(ABORT, 'extension_audit_log is append-only');
END;
CREATE TRIGGER extension_audit_log_no_delete BEFORE DELETE ON extension_audit_log
BEGIN
    SELECT RAISE(ABORT, 'extension_audit_log is append-only');
END;

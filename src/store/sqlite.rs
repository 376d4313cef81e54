//! The statements in the words of SQLite.
//!
//! Booleans are 0 and 1, JSON is text that was checked, and times are RFC 3339 in UTC, which as
//! text sort by time.

use super::statements::{
    ConnectionStatements, ExtensionStatements, HealthStatements, KeyStatements, NonceStatements,
    ObjectStatements, PartStatements, PolicyStatements, RevisionStatements, Statements,
};

pub(super) const STATEMENTS: Statements = Statements {
    connection: CONNECTION,
    revision: REVISION,
    insert_audit: INSERT_AUDIT,
    objects: OBJECTS,
    extensions: EXTENSIONS,
    versions: VERSIONS,
    instances: INSTANCES,
    policies: POLICIES,
    keys: KEYS,
    nonces: NONCES,
    health: HEALTH,
    target_health: TARGET_HEALTH,
};

const CONNECTION: ConnectionStatements = ConnectionStatements {
    // A lock held elsewhere keeps no administrator waiting.
    limit: "PRAGMA busy_timeout = 2000",
    // Kept in the file, so one success is enough for good.
    journal: Some("PRAGMA journal_mode = WAL"),
    // A migration waits for another process that migrates the same database.
    limit_migration: "PRAGMA busy_timeout = 30000",
    begin_read: "BEGIN",
    extend_read: None,
    // Takes the write lock at once: one that is taken later is refused, not waited for.
    begin_write: "BEGIN IMMEDIATE",
};

const REVISION: RevisionStatements = RevisionStatements {
    read: "SELECT revision FROM registry_revision",
    next: "UPDATE registry_revision SET revision = revision + 1 RETURNING revision",
    announce: None,
};

const INSERT_AUDIT: &str = "
    INSERT INTO extension_audit_log
        (revision, source, actor, trace_id, action, object_kind, object_id, before, after)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const OBJECTS: ObjectStatements = ObjectStatements {
    all: "
        SELECT 'extension' AS kind, id, revision FROM extensions
        UNION ALL
        SELECT 'policy' AS kind, tenant_id || '/' || policy_id AS id, revision FROM policies
        UNION ALL
        SELECT 'key' AS kind, id, revision FROM keys",
    one: "
        SELECT revision FROM extensions WHERE ?1 = 'extension' AND id = ?2
        UNION ALL
        SELECT revision FROM policies WHERE ?1 = 'policy' AND tenant_id || '/' || policy_id = ?2
        UNION ALL
        SELECT revision FROM keys WHERE ?1 = 'key' AND id = ?2",
};

const EXTENSIONS: ExtensionStatements = ExtensionStatements {
    all: "
        SELECT
            id, type, subject, timeout_ms, retry, enabled, version,
            config, metadata, breaker, breaker_operator, breaker_reset, max_in_flight,
            subject_of, notes_of,
            max_payload_bytes, timeout_per_mib_ms
        FROM extensions
        ORDER BY id",
    one: "
        SELECT
            id, type, subject, timeout_ms, retry, enabled, version,
            config, metadata, breaker, breaker_operator, breaker_reset, max_in_flight,
            subject_of, notes_of,
            max_payload_bytes, timeout_per_mib_ms
        FROM extensions
        WHERE id = ?1",
    insert: "
        INSERT INTO extensions
            (id, type, subject, timeout_ms, retry, enabled, version,
             config, metadata, breaker, breaker_operator, breaker_reset, max_in_flight,
             subject_of, notes_of,
             max_payload_bytes, timeout_per_mib_ms)
        VALUES
            (?1, ?2, ?3, ?4, ?5, ?6, ?7,
             ?8, ?9, ?10, ?11, ?12, ?13,
             ?14, ?15, ?16, ?17)",
    update: "
        UPDATE extensions
        SET type = ?2,
            subject = ?3,
            timeout_ms = ?4,
            retry = ?5,
            enabled = ?6,
            version = ?7,
            config = ?8,
            metadata = ?9,
            breaker = ?10,
            breaker_operator = ?11,
            breaker_reset = ?12,
            max_in_flight = ?13,
            subject_of = ?14,
            notes_of = ?15,
            max_payload_bytes = ?16,
            timeout_per_mib_ms = ?17,
            updated_at = CURRENT_TIMESTAMP
        WHERE id = ?1",
    delete: "DELETE FROM extensions WHERE id = ?1",
};

const VERSIONS: PartStatements = PartStatements {
    all: "
        SELECT
            extension_id, version, subject, timeout_ms, retry,
            config, routing_rules, enabled
        FROM extension_versions
        ORDER BY extension_id, position",
    of_extension: "
        SELECT
            extension_id, version, subject, timeout_ms, retry,
            config, routing_rules, enabled
        FROM extension_versions
        WHERE extension_id = ?1
        ORDER BY position",
    insert: "
        INSERT INTO extension_versions
            (extension_id, position, version, subject, timeout_ms, retry,
             config, routing_rules, enabled)
        VALUES
            (?1, ?2, ?3, ?4, ?5, ?6,
             ?7, ?8, ?9)",
    delete: "DELETE FROM extension_versions WHERE extension_id = ?1",
};

const INSTANCES: PartStatements = PartStatements {
    all: "
        SELECT extension_id, instance_id, subject, weight, enabled
        FROM extension_instances
        ORDER BY extension_id, position",
    of_extension: "
        SELECT extension_id, instance_id, subject, weight, enabled
        FROM extension_instances
        WHERE extension_id = ?1
        ORDER BY position",
    insert: "
        INSERT INTO extension_instances
            (extension_id, position, instance_id, subject, weight, enabled)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    delete: "DELETE FROM extension_instances WHERE extension_id = ?1",
};

const POLICIES: PolicyStatements = PolicyStatements {
    all: "
        SELECT tenant_id, policy_id, document
        FROM policies
        ORDER BY tenant_id, policy_id",
    one: "
        SELECT document
        FROM policies
        WHERE tenant_id = ?1 AND policy_id = ?2",
    put: "
        INSERT INTO policies (tenant_id, policy_id, document)
        VALUES (?1, ?2, ?3)
        ON CONFLICT (tenant_id, policy_id) DO UPDATE
        SET document = excluded.document,
            updated_at = CURRENT_TIMESTAMP",
    delete: "DELETE FROM policies WHERE tenant_id = ?1 AND policy_id = ?2",
};

const KEYS: KeyStatements = KeyStatements {
    all: "
        SELECT
            id, kind, role, tenant_id, name, policies, models,
            rpm, tpm, budget_day, budget_month, created_at, expires_at, hash, public_key
        FROM keys
        ORDER BY id",
    one: "
        SELECT
            id, kind, role, tenant_id, name, policies, models,
            rpm, tpm, budget_day, budget_month, created_at, expires_at, hash, public_key
        FROM keys
        WHERE id = ?1",
    insert: "
        INSERT INTO keys
            (id, kind, role, tenant_id, name, policies, models,
             rpm, tpm, budget_day, budget_month, created_at, expires_at, hash, public_key)
        VALUES
            (?1, ?2, ?3, ?4, ?5, ?6, ?7,
             ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    expire: "UPDATE keys SET expires_at = ?2 WHERE id = ?1",
    delete: "DELETE FROM keys WHERE id = ?1",
};

const NONCES: NonceStatements = NonceStatements {
    insert: "INSERT INTO used_nonces (key_id, nonce, used_at) VALUES (?1, ?2, ?3)",
    forget: "DELETE FROM used_nonces WHERE used_at < ?1",
};

const HEALTH: HealthStatements = HealthStatements {
    put: "
        INSERT INTO extension_health
            (extension_id, replica, status, success_rate, requests,
             latency_ms, latency_p95_ms, latency_p99_ms,
             last_success_at, last_failure_at, updated_at)
        SELECT
            id, ?2, ?3, ?4, ?5,
            ?6, ?7, ?8,
            ?9, ?10, ?11
        FROM extensions
        WHERE id = ?1
        ON CONFLICT (extension_id, replica) DO UPDATE
        SET status = excluded.status,
            success_rate = excluded.success_rate,
            requests = excluded.requests,
            latency_ms = excluded.latency_ms,
            latency_p95_ms = excluded.latency_p95_ms,
            latency_p99_ms = excluded.latency_p99_ms,
            last_success_at = excluded.last_success_at,
            last_failure_at = excluded.last_failure_at,
            updated_at = excluded.updated_at",
    delete: "DELETE FROM extension_health WHERE extension_id = ?1",
    forget: "DELETE FROM extension_health WHERE updated_at < ?1",
};

const TARGET_HEALTH: HealthStatements = HealthStatements {
    put: "
        INSERT INTO extension_target_health
            (extension_id, replica, status, success_rate, requests,
             latency_p50_ms, latency_p95_ms, latency_p99_ms,
             last_success_at, last_failure_at, updated_at,
             subject, version, instance)
        SELECT
            id, ?2, ?3, ?4, ?5,
            ?6, ?7, ?8,
            ?9, ?10, ?11,
            ?12, ?13, ?14
        FROM extensions
        WHERE id = ?1
        ON CONFLICT (extension_id, replica, subject) DO UPDATE
        SET version = excluded.version,
            instance = excluded.instance,
            status = excluded.status,
            success_rate = excluded.success_rate,
            requests = excluded.requests,
            latency_p50_ms = excluded.latency_p50_ms,
            latency_p95_ms = excluded.latency_p95_ms,
            latency_p99_ms = excluded.latency_p99_ms,
            last_success_at = excluded.last_success_at,
            last_failure_at = excluded.last_failure_at,
            updated_at = excluded.updated_at",
    delete: "DELETE FROM extension_target_health WHERE extension_id = ?1",
    forget: "DELETE FROM extension_target_health WHERE updated_at < ?1",
};

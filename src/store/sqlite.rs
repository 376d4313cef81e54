//! The statements in the words of SQLite.
//!
//! Booleans are 0 and 1, JSON is text that was checked, and times are RFC 3339 in UTC, which as
//! text sort by time.

use super::statements::{
    AuditStatements, ConnectionStatements, ExtensionStatements, FleetKeyStatements,
    HealthStatements, KeyStatements, NonceStatements, ObjectStatements, PartStatements,
    PolicyStatements, RevisionStatements, Statements,
};

pub(super) const STATEMENTS: Statements = Statements {
    connection: CONNECTION,
    revision: REVISION,
    audit: AUDIT,
    objects: OBJECTS,
    extensions: EXTENSIONS,
    versions: VERSIONS,
    instances: INSTANCES,
    policies: POLICIES,
    keys: KEYS,
    nonces: NONCES,
    fleet_keys: FLEET_KEYS,
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

const AUDIT: AuditStatements = AuditStatements {
    insert: "
        INSERT INTO extension_audit_log
            (revision, source, actor, trace_id, action, object_kind, object_id, before, after,
             key_id, role, tenant_id, address, reason, outcome, error_code, request_id)
        VALUES
            (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
             ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
        RETURNING id",
    list: "
        SELECT
            log.id, log.recorded_at AS at, log.revision, log.source, log.actor, log.key_id,
            log.role, log.tenant_id, log.address, log.action, log.object_kind, log.object_id,
            CASE WHEN ?11 THEN log.before END AS before,
            CASE WHEN ?11 THEN log.after END AS after, log.reason, log.outcome, log.error_code,
            log.request_id, log.trace_id,
            link.seq, link.vouched, link.hash
        FROM extension_audit_log AS log
        LEFT JOIN audit_chain AS link ON link.row_id = log.id
        WHERE log.id > 0
          AND (?1 IS NULL OR log.id < ?1)
          AND (?2 IS NULL OR log.actor = ?2)
          AND (?3 IS NULL OR log.action = ?3)
          AND (?4 IS NULL OR log.object_kind = ?4)
          AND (?5 IS NULL OR log.object_id = ?5)
          AND (?6 IS NULL OR log.outcome = ?6)
          AND (?7 IS NULL OR log.tenant_id = ?7)
          AND (?8 IS NULL OR log.recorded_at >= ?8)
          AND (?9 IS NULL OR log.recorded_at < ?9)
        ORDER BY log.id DESC
        LIMIT ?10",
    unlinked: "
        SELECT log.id
        FROM extension_audit_log AS log
        WHERE log.id > 0
          AND log.id > (SELECT COALESCE(max(row_id), 0) - 10000 FROM audit_chain)
          AND NOT EXISTS (SELECT 1 FROM audit_chain AS link WHERE link.row_id = log.id)
        ORDER BY log.id
        LIMIT 10000",
    unlinked_of: "
        SELECT
            log.id, log.recorded_at AS at, log.revision, log.source, log.actor, log.key_id,
            log.role, log.tenant_id, log.address, log.action, log.object_kind, log.object_id,
            log.before, log.after, log.reason, log.outcome, log.error_code,
            log.request_id, log.trace_id,
            NULL AS seq, NULL AS vouched, NULL AS hash
        FROM extension_audit_log AS log
        WHERE log.id IN (SELECT value FROM json_each(?1))
          AND NOT EXISTS (SELECT 1 FROM audit_chain AS link WHERE link.row_id = log.id)
        ORDER BY log.id",
    outside: "
        SELECT log.id
        FROM extension_audit_log AS log
        WHERE (log.id <= 0
            OR julianday(log.recorded_at) IS NULL
            OR julianday(log.recorded_at) < julianday('now', '-5 minutes')
            OR julianday(log.recorded_at) > julianday('now', '+1 minute'))
          AND NOT EXISTS (SELECT 1 FROM audit_chain AS link WHERE link.row_id = log.id)
        ORDER BY log.id
        LIMIT 20",
    links_before: "
        SELECT row_id AS id FROM audit_chain
        WHERE seq <= ?1
        ORDER BY seq
        LIMIT 20",
    links: "
        SELECT
            log.id, log.recorded_at AS at, log.revision, log.source, log.actor, log.key_id,
            log.role, log.tenant_id, log.address, log.action, log.object_kind, log.object_id,
            log.before, log.after, log.reason, log.outcome, log.error_code,
            log.request_id, log.trace_id,
            link.row_id, link.seq, link.vouched, link.hash
        FROM audit_chain AS link
        LEFT JOIN extension_audit_log AS log ON log.id = link.row_id
        WHERE link.seq > ?1
        ORDER BY link.seq
        LIMIT ?2",
    head: "
        SELECT seq, hash FROM audit_chain
        UNION ALL
        SELECT last_seq AS seq, last_hash AS hash FROM audit_prunings
        WHERE NOT EXISTS (SELECT 1 FROM audit_chain WHERE seq > 0)
        ORDER BY seq DESC
        LIMIT 1",
    at_seq: "
        SELECT hash FROM audit_chain WHERE seq = ?1
        UNION ALL
        SELECT last_hash AS hash FROM audit_prunings WHERE last_seq = ?1
        LIMIT 1",
    pruned: "
        SELECT COALESCE(max(last_seq), 0) AS seq
        FROM audit_prunings
        WHERE last_seq > 0
          AND last_seq < COALESCE(
              (SELECT min(seq) FROM audit_chain WHERE seq > 0), 9223372036854775807
          )",
    false_prunings: "
        SELECT last_seq AS seq FROM audit_prunings
        WHERE last_seq > ?1 OR last_seq <= 0
        ORDER BY last_seq
        LIMIT 20",
    add_link: "INSERT INTO audit_chain (seq, row_id, vouched, hash) VALUES (?1, ?2, ?3, ?4)",
    first_since: "
        SELECT COALESCE(min(link.seq), 0) AS seq
        FROM audit_chain AS link
        JOIN extension_audit_log AS log ON log.id = link.row_id
        WHERE log.recorded_at >= ?1",
    add_pruning: "
        INSERT INTO audit_prunings (last_seq, last_hash, before, by_key)
        VALUES (?1, ?2, ?3, ?4)",
    delete_rows: "
        DELETE FROM extension_audit_log
        WHERE id IN (SELECT row_id FROM audit_chain WHERE seq <= ?1)",
    delete_links: "DELETE FROM audit_chain WHERE seq <= ?1",
};

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

const FLEET_KEYS: FleetKeyStatements = FleetKeyStatements {
    newest: "
        SELECT number, id, secret, created_at
        FROM fleet_keys
        ORDER BY number DESC
        LIMIT 2",
    insert: "
        INSERT INTO fleet_keys (number, id, secret, created_at)
        SELECT ?1, ?2, ?3, ?4
        WHERE NOT EXISTS (SELECT 1 FROM fleet_keys WHERE number >= ?1)
        ON CONFLICT (number) DO NOTHING",
    forget: "DELETE FROM fleet_keys WHERE number < ?1",
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

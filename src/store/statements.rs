//! Every statement that reads or writes the registry, in the words that both databases know. Casts with `::` are left out
//! for SQLite. Booleans are read as 0 and 1, because SQLite has no others.

pub(super) const REVISION: &str = "SELECT revision FROM registry_revision";

/// Takes the lock that puts all writers in order.
pub(super) const NEXT_REVISION: &str =
    "UPDATE registry_revision SET revision = revision + 1 RETURNING revision";

pub(super) const NOTIFY: &str = "SELECT pg_notify($1, $2)";

pub(super) const EXTENSIONS: &str = "SELECT id, type, subject, timeout_ms, retry, \
    CASE WHEN enabled THEN 1 ELSE 0 END AS enabled, version, CAST(config AS text) AS config, \
    CAST(metadata AS text) AS metadata, CAST(breaker AS text) AS breaker, \
    CAST(breaker_operator AS text) AS breaker_operator, \
    CAST(breaker_reset AS text) AS breaker_reset, max_in_flight FROM extensions ORDER BY id";
pub(super) const VERSIONS: &str = "SELECT extension_id, version, subject, timeout_ms, retry, \
    CAST(config AS text) AS config, CAST(routing_rules AS text) AS routing_rules, \
    CASE WHEN enabled THEN 1 ELSE 0 END AS enabled FROM extension_versions ORDER BY extension_id, position";
pub(super) const INSTANCES: &str = "SELECT extension_id, instance_id, subject, weight, \
    CASE WHEN enabled THEN 1 ELSE 0 END AS enabled FROM extension_instances ORDER BY extension_id, position";
pub(super) const POLICIES: &str = "SELECT tenant_id, policy_id, CAST(document AS text) AS document \
    FROM policies ORDER BY tenant_id, policy_id";

pub(super) const EXTENSION: &str = "SELECT id, type, subject, timeout_ms, retry, \
    CASE WHEN enabled THEN 1 ELSE 0 END AS enabled, version, CAST(config AS text) AS config, \
    CAST(metadata AS text) AS metadata, CAST(breaker AS text) AS breaker, \
    CAST(breaker_operator AS text) AS breaker_operator, \
    CAST(breaker_reset AS text) AS breaker_reset, max_in_flight FROM extensions WHERE id = $1";
pub(super) const VERSIONS_OF: &str = "SELECT extension_id, version, subject, timeout_ms, retry, \
    CAST(config AS text) AS config, CAST(routing_rules AS text) AS routing_rules, \
    CASE WHEN enabled THEN 1 ELSE 0 END AS enabled FROM extension_versions WHERE extension_id = $1 ORDER BY position";
pub(super) const INSTANCES_OF: &str = "SELECT extension_id, instance_id, subject, weight, \
    CASE WHEN enabled THEN 1 ELSE 0 END AS enabled FROM extension_instances WHERE extension_id = $1 ORDER BY position";
pub(super) const POLICY: &str = "SELECT CAST(document AS text) AS document FROM policies WHERE tenant_id = $1 AND policy_id = $2";

pub(super) const INSERT_EXTENSION: &str = "INSERT INTO extensions \
    (id, type, subject, timeout_ms, retry, enabled, version, config, metadata, breaker, breaker_operator, breaker_reset, \
    max_in_flight) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9::jsonb, $10::jsonb, $11::jsonb, $12::jsonb, $13)";
pub(super) const UPDATE_EXTENSION: &str = "UPDATE extensions SET type = $2, subject = $3, timeout_ms = $4, retry = $5, \
    enabled = $6, version = $7, config = $8::jsonb, metadata = $9::jsonb, breaker = $10::jsonb, \
    breaker_operator = $11::jsonb, breaker_reset = $12::jsonb, max_in_flight = $13, \
    updated_at = CURRENT_TIMESTAMP WHERE id = $1";
pub(super) const INSERT_VERSION: &str = "INSERT INTO extension_versions \
    (extension_id, position, version, subject, timeout_ms, retry, config, routing_rules, enabled) \
    VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9)";
pub(super) const INSERT_INSTANCE: &str = "INSERT INTO extension_instances \
    (extension_id, position, instance_id, subject, weight, enabled) VALUES ($1, $2, $3, $4, $5, $6)";
pub(super) const PUT_POLICY: &str = "INSERT INTO policies (tenant_id, policy_id, document) \
    VALUES ($1, $2, $3::json) ON CONFLICT (tenant_id, policy_id) \
    DO UPDATE SET document = excluded.document, updated_at = CURRENT_TIMESTAMP";

pub(super) const DELETE_EXTENSION: &str = "DELETE FROM extensions WHERE id = $1";
pub(super) const DELETE_VERSIONS: &str = "DELETE FROM extension_versions WHERE extension_id = $1";
pub(super) const DELETE_INSTANCES: &str = "DELETE FROM extension_instances WHERE extension_id = $1";
pub(super) const DELETE_HEALTH: &str = "DELETE FROM extension_health WHERE extension_id = $1";
pub(super) const DELETE_TARGET_HEALTH: &str =
    "DELETE FROM extension_target_health WHERE extension_id = $1";
/// Of an extension that was deleted meanwhile, nothing is written.
pub(super) const PUT_HEALTH: &str = "INSERT INTO extension_health \
    (extension_id, replica, status, success_rate, requests, latency_ms, latency_p95_ms, latency_p99_ms, \
    last_success_at, last_failure_at, updated_at) \
    SELECT id, $2, $3, $4, $5, $6, $7, $8, $9::timestamptz, $10::timestamptz, $11::timestamptz \
    FROM extensions WHERE id = $1 \
    ON CONFLICT (extension_id, replica) DO UPDATE SET status = excluded.status, \
    success_rate = excluded.success_rate, requests = excluded.requests, latency_ms = excluded.latency_ms, \
    latency_p95_ms = excluded.latency_p95_ms, latency_p99_ms = excluded.latency_p99_ms, \
    last_success_at = excluded.last_success_at, last_failure_at = excluded.last_failure_at, \
    updated_at = excluded.updated_at";
/// The first eleven like the above.
pub(super) const PUT_TARGET_HEALTH: &str = "INSERT INTO extension_target_health \
    (extension_id, replica, status, success_rate, requests, latency_p50_ms, latency_p95_ms, latency_p99_ms, \
    last_success_at, last_failure_at, updated_at, subject, version, instance) \
    SELECT id, $2, $3, $4, $5, $6, $7, $8, $9::timestamptz, $10::timestamptz, $11::timestamptz, $12, $13, $14 \
    FROM extensions WHERE id = $1 \
    ON CONFLICT (extension_id, replica, subject) DO UPDATE SET version = excluded.version, \
    instance = excluded.instance, status = excluded.status, success_rate = excluded.success_rate, \
    requests = excluded.requests, latency_p50_ms = excluded.latency_p50_ms, \
    latency_p95_ms = excluded.latency_p95_ms, latency_p99_ms = excluded.latency_p99_ms, \
    last_success_at = excluded.last_success_at, last_failure_at = excluded.last_failure_at, \
    updated_at = excluded.updated_at";
pub(super) const FORGET_HEALTH: &str =
    "DELETE FROM extension_health WHERE updated_at < $1::timestamptz";
pub(super) const FORGET_TARGET_HEALTH: &str =
    "DELETE FROM extension_target_health WHERE updated_at < $1::timestamptz";
pub(super) const DELETE_POLICY: &str =
    "DELETE FROM policies WHERE tenant_id = $1 AND policy_id = $2";

pub(super) const INSERT_AUDIT: &str = "INSERT INTO extension_audit_log \
    (revision, source, actor, trace_id, action, object_kind, object_id, before, after) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8::json, $9::json)";

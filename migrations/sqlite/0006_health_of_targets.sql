-- How each version and instance of an extension does, beside the extension as a whole, and percentiles of both. What a
-- replica of an older version writes has none of the new columns; latency_ms stays the median.

ALTER TABLE extension_health ADD COLUMN requests INTEGER;
ALTER TABLE extension_health ADD COLUMN latency_p95_ms REAL;
ALTER TABLE extension_health ADD COLUMN latency_p99_ms REAL;

CREATE TABLE extension_target_health (
    extension_id TEXT NOT NULL,
    replica TEXT NOT NULL,
    subject TEXT NOT NULL,
    version TEXT NOT NULL,
    instance TEXT,
    status TEXT NOT NULL CHECK (status IN ('healthy', 'degraded', 'unhealthy', 'unknown')),
    success_rate REAL CHECK (success_rate BETWEEN 0 AND 1),
    requests INTEGER NOT NULL,
    latency_p50_ms REAL,
    latency_p95_ms REAL,
    latency_p99_ms REAL,
    last_success_at TEXT,
    last_failure_at TEXT,
    updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (extension_id, replica, subject)
);

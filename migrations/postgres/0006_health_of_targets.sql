-- How each version and instance of an extension does, beside the extension as a whole, and percentiles of both. What a
-- replica of an older version writes has none of the new columns; latency_ms stays the median.

ALTER TABLE extension_health ADD COLUMN requests bigint;
ALTER TABLE extension_health ADD COLUMN latency_p95_ms double precision;
ALTER TABLE extension_health ADD COLUMN latency_p99_ms double precision;

CREATE TABLE extension_target_health (
    extension_id text COLLATE "C" NOT NULL,
    replica text NOT NULL,
    subject text NOT NULL,
    version text NOT NULL,
    instance text,
    status text NOT NULL CHECK (status IN ('healthy', 'degraded', 'unhealthy', 'unknown')),
    success_rate double precision CHECK (success_rate BETWEEN 0 AND 1),
    requests bigint NOT NULL,
    latency_p50_ms double precision,
    latency_p95_ms double precision,
    latency_p99_ms double precision,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (extension_id, replica, subject)
);

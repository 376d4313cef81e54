-- The registry: extensions, policies, and the revision that orders every change of them.
-- ids sort by byte ("C"), as they do in the router and in SQLite.

CREATE TABLE registry_revision (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL CHECK (revision >= 0)
);
INSERT INTO registry_revision (revision) VALUES (0);

CREATE TABLE extensions (
    id text COLLATE "C" PRIMARY KEY,
    type text NOT NULL CHECK (type IN ('pre', 'validator', 'post', 'provider')),
    subject text,
    timeout_ms bigint NOT NULL CHECK (timeout_ms > 0),
    retry bigint NOT NULL CHECK (retry >= 0),
    enabled boolean NOT NULL,
    version text NOT NULL,
    config jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(config) = 'object'),
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE UNIQUE INDEX extensions_id_any_case ON extensions (lower(id));

CREATE TABLE extension_versions (
    extension_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    version text NOT NULL,
    subject text,
    timeout_ms bigint CHECK (timeout_ms > 0),
    retry bigint CHECK (retry >= 0),
    config jsonb CHECK (jsonb_typeof(config) = 'object'),
    routing_rules jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(routing_rules) = 'object'),
    enabled boolean NOT NULL,
    PRIMARY KEY (extension_id, version)
);

CREATE TABLE extension_instances (
    extension_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    instance_id text NOT NULL,
    subject text NOT NULL,
    weight bigint NOT NULL CHECK (weight BETWEEN 0 AND 100),
    enabled boolean NOT NULL,
    PRIMARY KEY (extension_id, instance_id)
);

-- What each replica last saw; never read on the way of a request.
CREATE TABLE extension_health (
    extension_id text COLLATE "C" NOT NULL,
    replica text NOT NULL,
    status text NOT NULL CHECK (status IN ('healthy', 'degraded', 'unhealthy', 'unknown')),
    success_rate double precision CHECK (success_rate BETWEEN 0 AND 1),
    latency_ms double precision,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (extension_id, replica)
);

-- A policy must come back byte for byte, so its document is json and not jsonb.
CREATE TABLE policies (
    tenant_id text COLLATE "C" NOT NULL,
    policy_id text COLLATE "C" NOT NULL,
    document json NOT NULL CHECK (json_typeof(document) = 'object'),
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (tenant_id, policy_id)
);
CREATE UNIQUE INDEX policies_id_any_case ON policies (tenant_id, lower(policy_id));

-- History has no foreign keys: it outlives what it is about, and ids are copied as text. Before and after are json, so
-- that they show the documents as they were.
CREATE TABLE extension_audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    revision bigint NOT NULL,
    source text NOT NULL,
    actor text,
    trace_id text,
    action text NOT NULL,
    object_kind text NOT NULL,
    object_id text NOT NULL,
    before json,
    after json
);
CREATE INDEX extension_audit_log_object ON extension_audit_log (object_kind, object_id, id);

CREATE FUNCTION refuse_change_of_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'extension_audit_log is append-only';
END
$$;
CREATE TRIGGER extension_audit_log_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON extension_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

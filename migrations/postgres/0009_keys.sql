-- Keys of the administration and of the edge, in one table. Nothing here opens a door: hash is SHA-256 of the whole key,
-- public_key the Ed25519 key that checks its signatures, both in hexadecimal. Times are milliseconds since 1970, amounts
-- of money decimal text. What a role or a kind means, each version of the router knows for itself; it lets nobody in by a
-- word that it does not know.

CREATE TABLE keys (
    id text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    role text,
    tenant_id text COLLATE "C",
    name text,
    policies json NOT NULL DEFAULT '[]' CHECK (json_typeof(policies) = 'array'),
    models json NOT NULL DEFAULT '[]' CHECK (json_typeof(models) = 'array'),
    rpm bigint CHECK (rpm >= 0),
    tpm bigint CHECK (tpm >= 0),
    budget_day text,
    budget_month text,
    created_at bigint NOT NULL,
    expires_at bigint,
    hash text NOT NULL UNIQUE,
    public_key text,
    CHECK (kind <> 'admin' OR role IS NOT NULL),
    CHECK (kind <> 'edge' OR (tenant_id IS NOT NULL AND role IS NULL))
);

-- Writes that were signed, so that none is taken twice. A row is of no use once its date is too old to be taken at all.
CREATE TABLE used_nonces (
    key_id text COLLATE "C" NOT NULL,
    nonce text COLLATE "C" NOT NULL,
    used_at bigint NOT NULL,
    PRIMARY KEY (key_id, nonce)
);
CREATE INDEX used_nonces_used_at ON used_nonces (used_at);

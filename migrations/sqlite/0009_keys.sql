-- Keys of the administration and of the edge, in one table. Nothing here opens a door: hash is SHA-256 of the whole key,
-- public_key the Ed25519 key that checks its signatures, both in hexadecimal. Times are milliseconds since 1970, amounts
-- of money decimal text. What a role or a kind means, each version of the router knows for itself; it lets nobody in by a
-- word that it does not know.

CREATE TABLE keys (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    role TEXT,
    tenant_id TEXT,
    name TEXT,
    policies TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(policies)),
    models TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(models)),
    rpm INTEGER CHECK (rpm >= 0),
    tpm INTEGER CHECK (tpm >= 0),
    budget_day TEXT,
    budget_month TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    hash TEXT NOT NULL UNIQUE,
    public_key TEXT,
    CHECK (kind <> 'admin' OR role IS NOT NULL),
    CHECK (kind <> 'edge' OR (tenant_id IS NOT NULL AND role IS NULL))
);

-- Writes that were signed, so that none is taken twice. A row is of no use once its date is too old to be taken at all.
CREATE TABLE used_nonces (
    key_id TEXT NOT NULL,
    nonce TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, nonce)
);
CREATE INDEX used_nonces_used_at ON used_nonces (used_at);

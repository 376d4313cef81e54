-- How large a call of an extension may be, and how much longer a large one may take.

ALTER TABLE extensions ADD COLUMN max_payload_bytes INTEGER CHECK (max_payload_bytes > 0);
ALTER TABLE extensions ADD COLUMN timeout_per_mib_ms INTEGER CHECK (timeout_per_mib_ms > 0);

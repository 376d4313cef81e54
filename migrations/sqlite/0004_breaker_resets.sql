-- How often operators have closed the breakers of an extension, and why the last time.

ALTER TABLE extensions ADD COLUMN breaker_reset TEXT CHECK (breaker_reset IS NULL OR json_valid(breaker_reset));

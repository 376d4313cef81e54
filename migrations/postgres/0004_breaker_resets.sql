-- How often operators have closed the breakers of an extension, and why the last time.

ALTER TABLE extensions ADD COLUMN breaker_reset jsonb CHECK (jsonb_typeof(breaker_reset) = 'object');

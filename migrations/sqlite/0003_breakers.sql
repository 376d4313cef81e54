-- What the breakers of an extension go by, and what an operator has decided about them for some time.

ALTER TABLE extensions ADD COLUMN breaker TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(breaker));
ALTER TABLE extensions ADD COLUMN breaker_operator TEXT CHECK (breaker_operator IS NULL OR json_valid(breaker_operator));

-- What the breakers of an extension go by, and what an operator has decided about them for some time.

ALTER TABLE extensions ADD COLUMN breaker jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(breaker) = 'object');
ALTER TABLE extensions ADD COLUMN breaker_operator jsonb CHECK (jsonb_typeof(breaker_operator) = 'object');

-- Calls of an extension that may run at a time, where that is not what the router grants each of them.

ALTER TABLE extensions ADD COLUMN max_in_flight bigint CHECK (max_in_flight BETWEEN 1 AND 10000);

-- The keys by which the replicas of one router know each other's messages: two of them, made anew each day by the first
-- replica that finds the newest one old. Whoever can read this table can speak as a replica. `number` is the order in which
-- they were made, and keeps two replicas from making the same one; `secret` is 32 random bytes in hexadecimal; times are
-- milliseconds since 1970. A replica that may not write here signs with what is there.

CREATE TABLE fleet_keys (
    number bigint PRIMARY KEY CHECK (number > 0),
    id text COLLATE "C" NOT NULL UNIQUE,
    secret text NOT NULL,
    created_at bigint NOT NULL
);

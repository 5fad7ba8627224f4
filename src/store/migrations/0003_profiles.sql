-- Local passwords that can be recovered, for CRAM-MD5, SCRAM and APOP, and a profile for each. SQLite cannot change a CHECK,
-- so the table is made anew; the index finds out at once that there is no recoverable one, as a rule.

CREATE TABLE local_password_3 (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('generated', 'chosen', 'recoverable')),
    sealed TEXT NOT NULL,
    profile TEXT,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    UNIQUE (account, name)
);

INSERT INTO local_password_3 (id, account, name, kind, sealed, created_at, last_used_at)
SELECT id, account, name, kind, sealed, created_at, last_used_at FROM local_password;

DROP TABLE local_password;

ALTER TABLE local_password_3 RENAME TO local_password;

CREATE INDEX local_password_kind ON local_password (kind, account);

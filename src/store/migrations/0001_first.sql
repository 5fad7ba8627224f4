-- The first schema. Types and statements are those that SQLite and PostgreSQL share: TEXT and BIGINT.
-- Encrypted columns (`sealed`) are base64 in TEXT, since BLOB and BYTEA are not the same word; times are Unix seconds.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE local_password (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('generated', 'chosen')),
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    UNIQUE (account, name)
);

CREATE TABLE stored_secret (
    account TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

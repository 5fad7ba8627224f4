-- OAuth grants, and who may ask the issuer now. `generation` counts the changes of a row: a writer names the one it
-- has read, and comes too late where it is another. `until` is in Unix milliseconds.

CREATE TABLE oauth_grant (
    name TEXT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL,
    sealed TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE oauth_lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
);

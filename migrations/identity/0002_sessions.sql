-- What one sign-in led to: a family of refresh tokens, of which only the newest is good.
create table sessions (
    id uuid primary key,
    user_id uuid not null references users on delete cascade,
    started_at timestamptz not null default now(),
    -- Moves on with every refresh.
    expires_at timestamptz not null
);

create index sessions_user_id on sessions (user_id);
create index sessions_expires_at on sessions (expires_at);

-- Refresh tokens by their SHA-256. They are random and long, so they need no salt.
create table refresh_tokens (
    hash bytea primary key,
    session_id uuid not null references sessions on delete cascade,
    -- Set when it was exchanged. If it comes again, somebody has a copy: the session ends.
    used_at timestamptz
);

create index refresh_tokens_session_id on refresh_tokens (session_id);

-- Wrong passwords in a row, by user name, whether or not there is such a user.
create table failed_sign_ins (
    user_name text primary key,
    failures integer not null,
    -- Nobody signs in under this name before.
    blocked_until timestamptz not null,
    -- After this the failures are forgotten.
    expires_at timestamptz not null
);

create index failed_sign_ins_expires_at on failed_sign_ins (expires_at);

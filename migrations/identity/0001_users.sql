-- People who can sign in. Everything here may be shown to an administrator; secrets are elsewhere.
create table users (
    id uuid primary key,
    user_name text not null,
    name text,
    surname text,
    email text not null,
    phone_number text,
    is_active boolean not null,
    roles text[] not null,
    -- Rises by one with every change; the ETag, and the order of what others hear of the user.
    version bigint not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_roles_known check (roles <@ array['customer', 'operator', 'admin'])
);

-- Two names that differ only in case would be taken for one another.
create unique index users_user_name_key on users (lower(user_name));

-- Argon2id hashes in PHC form, apart from the users: no query for users can give one away.
create table passwords (
    user_id uuid primary key references users on delete cascade,
    hash text not null
);

-- One row for each kind of demo data that was planted, so that it is planted once.
create table plantings (
    name text primary key,
    planted_at timestamptz not null default now()
);

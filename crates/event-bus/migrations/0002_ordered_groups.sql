-- Ordered consumer groups: which instance works on which partition, and the keys that wait. And
-- stored messages that end the process.

-- The instances that take part in an ordered group. Each renews its row every second; one that has
-- not been seen for some seconds is gone, and the others share its partitions.
create table group_members (
    group_name text not null,
    member uuid not null,
    seen_at timestamptz not null default clock_timestamp(),
    primary key (group_name, member)
);

-- Keys that are held back: a message of the key has failed, and waits for its next attempt or is a
-- dead letter. What comes behind it waits in `inbox_held_messages`.
create table inbox_held_keys (
    handler text not null,
    key text not null,
    -- The message that has to be handled or discarded before the next one of its key.
    message_id uuid not null,
    since timestamptz not null default now(),
    primary key (handler, key)
);
create index inbox_held_keys_message on inbox_held_keys (message_id);

-- Messages behind a held key, in their order. The inbox has their rows already.
create table inbox_held_messages (
    position bigint generated always as identity primary key,
    handler text not null,
    key text not null,
    message_id uuid not null,
    attributes jsonb not null,
    body bytea not null,
    arrived_at timestamptz not null default now()
);
create index inbox_held_messages_key on inbox_held_messages (handler, key, position);

-- How often an attempt was begun since one last ended. An attempt that ends its process comes to no
-- other end, and would be begun again at each start.
alter table inbox_retries add column begun integer not null default 0;

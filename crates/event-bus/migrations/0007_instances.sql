-- The running instances of a service, and the bindings that it has at the broker: what a new version
-- no longer handles is unbound, and what is stored for a handler that no instance has is reported.

-- What each running instance handles. An instance renews its row every few seconds and deletes it
-- when it is stopped; a row that was not renewed for half a minute belongs to an instance that has
-- crashed.
create table bus_instances (
    instance uuid primary key,
    service text not null,
    seen_at timestamptz not null default clock_timestamp(),
    handlers text[] not null,
    -- The bindings it wants, one for each position of these arrays.
    wanted_groups text[] not null,
    wanted_ordered boolean[] not null,
    wanted_kinds text[] not null,
    wanted_patterns text[] not null
);

-- The bindings that instances have made.
create table bus_bindings (
    service text not null,
    group_name text not null,
    -- Of an ordered group an exchange is bound, of another one its queue.
    ordered boolean not null,
    -- `event` or `command`.
    kind text not null,
    pattern text not null,
    -- How many partitions the group has; 0 if it is not ordered.
    partitions integer not null,
    -- Whether the group was subscribed while the bus was running. Such a subscription is durable:
    -- it outlives the instances, and ends only when it is unsubscribed.
    subscribed boolean not null,
    -- False once the broker was asked to remove it.
    bound boolean not null default true,
    primary key (service, group_name, ordered, kind, pattern)
);

-- Stored retries are counted by handler, without reading all of them.
create index inbox_retries_handler on inbox_retries (handler);

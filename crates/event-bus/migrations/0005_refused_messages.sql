-- Messages that the broker refuses. They are stored apart from the outbox, so that they block no
-- other message, and are retried until the broker takes them: a row is deleted only after its
-- confirm.

create table outbox_refused (
    -- The order in which messages were set aside.
    position bigint generated always as identity primary key,
    -- What `attributes` say; null where they cannot be read as a message.
    message_id text,
    kind text,
    name text,
    attributes jsonb not null,
    body bytea not null,
    -- How often the broker has returned it because no queue was bound for it.
    returned integer not null,
    -- A stable word for the error, and the broker's reason.
    error text not null,
    reason text not null,
    -- True: the broker refuses every message of this kind and name, and probes find out when it
    -- takes them again. False: it refuses this message, which is retried at `next_at`.
    by_destination boolean not null,
    -- How often this very message was refused; 0 while it only waits for its destination.
    refusals integer not null,
    created_at timestamptz not null,
    refused_at timestamptz not null default clock_timestamp(),
    next_at timestamptz not null
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);
create index outbox_refused_name on outbox_refused (name);
create index outbox_refused_destination on outbox_refused (kind, name, refusals, position)
where by_destination;
create index outbox_refused_next on outbox_refused (next_at) where not by_destination;

-- The tables of one participant of the bus, in the schema of the service that owns them.
--
-- `attributes` are the CloudEvents context attributes of a message as JSON, `body` the bytes that
-- travel. PostgreSQL 15 and later.

-- Messages that are committed and not yet confirmed by the broker. The relay reads them by
-- position and deletes each one after its confirm, so the table is empty when nothing is wrong.
create table outbox (
    position bigint generated always as identity primary key,
    attributes jsonb not null,
    body bytea not null,
    -- How often the broker has returned it because nobody was bound for it.
    returned integer not null default 0,
    created_at timestamptz not null default clock_timestamp()
) with (
    -- Rows live for milliseconds: vacuum by number of dead rows, not by share of the table.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);

-- Messages that wait for a time: scheduled by their publisher, or returned by the broker because
-- nobody is bound for them yet. When due they move to the end of the outbox.
create table outbox_scheduled (
    message_id uuid primary key,
    due_at timestamptz not null,
    attributes jsonb not null,
    body bytea not null,
    returned integer not null default 0,
    created_at timestamptz not null default clock_timestamp()
);
create index outbox_scheduled_due on outbox_scheduled (due_at);

-- What has been taken: one row for each message and handler, written in the transaction of the
-- handler's effect. A second delivery finds the row and has no effect. Message ids are UUIDv7, so
-- a range of ids is a range of time, and old rows go by dropping their partition.
create table inbox (
    message_id uuid not null,
    handler text not null,
    received_at timestamptz not null default now(),
    primary key (message_id, handler)
) partition by range (message_id);

-- Ids of other making (a publisher that is not this bus) and of times without a partition.
create table inbox_default partition of inbox default;
create index inbox_default_received on inbox_default (received_at);

-- The smallest UUIDv7 of a day (UTC): its first 48 bits are milliseconds since 1970.
create function inbox_day_start(day date) returns uuid
language sql immutable as $$
    select (lpad(to_hex((extract(epoch from day) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions of today and the next two days, and drops what is older than `retention`.
-- Called every hour by each instance; one of them does the work.
--
-- It waits no longer than two seconds for its locks: whoever takes a message then waits behind it.
create function inbox_keep(retention interval) returns void
language plpgsql set lock_timeout = '2s' as $$
declare
    is_used boolean;
    today constant date := (now() at time zone 'utc')::date;
    day date;
    partition text;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('event_bus_inbox.' || current_schema(), 0)) then
        return;
    end if;
    for day in select generate_series(today, today + 2, interval '1 day') loop
        partition := 'inbox_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass(partition) is not null;
        begin
            execute format('create table %I partition of inbox for values from (%L) to (%L)',
                           partition, inbox_day_start(day), inbox_day_start(day + 1));
        exception when check_violation then
            -- The default partition has rows of that day already; the day stays there.
            null;
        end;
    end loop;
    for partition in
        select child.relname
        from pg_inherits join pg_class child on child.oid = inhrelid
        where inhparent = 'inbox'::regclass and child.relname ~ '^inbox_[0-9]{8}$'
          and to_date(right(child.relname, 8), 'YYYYMMDD') < (now() at time zone 'utc' - retention)::date
    loop
        -- A message may be taken long after its id was made: when it was scheduled, or waited.
        execute format('select exists (select from %I where received_at >= $1)', partition)
        into is_used using now() - retention;
        continue when is_used;
        execute format('drop table %I', partition);
    end loop;
    delete from inbox_default where received_at < now() - retention;
end
$$;

select inbox_keep('7 days');

-- Messages that a handler failed at and will be given again. The inbox has their rows already.
create table inbox_retries (
    message_id uuid not null,
    handler text not null,
    attributes jsonb not null,
    body bytea not null,
    attempts integer not null,
    next_at timestamptz not null,
    -- The last error and its causes, outermost first.
    reasons text[] not null,
    first_failed_at timestamptz not null default now(),
    primary key (message_id, handler)
);
create index inbox_retries_next on inbox_retries (next_at);

-- Messages that could not be handled. They stay until somebody replays or discards them.
create table dead_letters (
    id uuid primary key,
    -- Null for what could not be read as a message at all.
    message_id uuid,
    -- The handler that failed; null if it never reached one.
    handler text,
    name text,
    -- Why, as a stable word: `rejected`, `retries_exhausted`, `malformed`, `unknown_message`,
    -- `newer_version`, `too_large`, `delivery_limit`.
    reason text not null,
    -- The error and its causes, outermost first.
    reasons text[] not null,
    -- Null for what could not be read as a message at all.
    attributes jsonb,
    body bytea not null,
    attempts integer not null,
    first_failed_at timestamptz not null,
    dead_at timestamptz not null default now()
);
create index dead_letters_dead_at on dead_letters (dead_at);
create unique index dead_letters_once on dead_letters (message_id, handler) nulls not distinct
where message_id is not null;

-- House-keeping of the inbox that neither waits for handlers nor makes them wait, and that a role
-- without the ownership of the tables may run.
--
-- Dropping a partition, or making one with `create table … partition of`, locks the whole inbox,
-- which every running handler holds. Handlers of half a minute kept it from its lock, and whoever
-- claimed a message meanwhile queued behind it. So each step takes the weakest lock that does, with
-- `nowait`, and is left for the next time if it can't have it:
--
-- - a day's partition is made apart and attached, which locks the default partition alone;
-- - an old partition is emptied by `truncate`, which locks that partition alone;
-- - an empty partition is dropped when no transaction happens to use the inbox. Until then it costs
--   nothing.
create or replace function inbox_keep(retention interval) returns void
language plpgsql set lock_timeout = '100ms' as $$
declare
    is_used boolean;
    today constant date := (now() at time zone 'utc')::date;
    day date;
    partition text;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('event_bus_inbox.' || current_schema(), 0)) then
        return;
    end if;

    delete from inbox_default where received_at < now() - retention;

    for day in select generate_series(today, today + 2, interval '1 day') loop
        partition := 'inbox_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass(partition) is not null;
        begin
            lock table inbox_default in access exclusive mode nowait;
            execute format('create table %I (like inbox including defaults)', partition);
            execute format('alter table inbox attach partition %I for values from (%L) to (%L)',
                           partition, inbox_day_start(day), inbox_day_start(day + 1));
        exception
            -- Its turn comes again in time: partitions are made two days ahead.
            when lock_not_available then exit;
            -- The default partition has rows of that day already; the day stays there.
            when check_violation then null;
        end;
    end loop;

    for partition in
        select child.relname
        from pg_inherits join pg_class child on child.oid = inhrelid
        where inhparent = 'inbox'::regclass and child.relname ~ '^inbox_[0-9]{8}$'
          and to_date(right(child.relname, 8), 'YYYYMMDD') < (now() at time zone 'utc' - retention)::date
    loop
        begin
            execute format('lock table %I in access exclusive mode nowait', partition);
            -- A message may be handled long after its id was made: when it was scheduled, or waited.
            execute format('select exists (select from %I where received_at >= $1)', partition)
            into is_used using now() - retention;
            continue when is_used;
            execute format('truncate %I', partition);
        exception when lock_not_available then
            continue;
        end;
        begin
            lock table only inbox in access exclusive mode nowait;
            lock table inbox_default in access exclusive mode nowait;
            execute format('drop table %I', partition);
        exception when lock_not_available then
            null;
        end;
    end loop;
end
$$;

-- It runs with the rights of the tables' owner, on this schema and no other: the role of a running
-- service needs to read and write rows, and no more.
do $$
begin
    execute format('alter function inbox_keep(interval) security definer set search_path = %I, pg_temp',
                   current_schema());
end
$$;

-- Claims that do not wait for each other, and messages that the broker gave up on.

-- Claims messages for their handlers and returns the claims that are new.
--
-- A claim that another transaction has made and not yet committed raises `lock_not_available`
-- (55P03) after the time below. Without a limit the statement would wait for as long as the other
-- transaction's handler runs. The setting ends with the function, so it costs no round trip and
-- does not apply to the handlers' own statements.
create function inbox_claim(ids uuid[], handlers text[])
returns table (claimed_id uuid, claimed_handler text)
language plpgsql set lock_timeout = '10ms' as $$
begin
    -- With casts, so that the function goes on when a column's type is widened.
    return query
        insert into inbox (message_id, handler)
        select * from unnest(ids, handlers)
        on conflict do nothing
        returning message_id::uuid, handler::text;
end
$$;

-- The broker gave up on the message before any handler was given it: it had counted as many
-- returns as it allows. Fewer attempts may then be begun without an end than for other messages.
alter table inbox_retries add column given_up boolean not null default false;

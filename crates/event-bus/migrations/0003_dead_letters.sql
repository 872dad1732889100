-- Finding dead letters among many, and replaying them.

-- Newest first for each thing to look for: ids are UUIDv7. A message's id has its index already.
create index dead_letters_handler on dead_letters (handler, id);
create index dead_letters_name on dead_letters (name, id);
create index dead_letters_reason on dead_letters (reason, id);

-- The handlers that had taken the message when it became a dead letter that is no handler's. A
-- replay leaves them out, also when the inbox has forgotten the message.
alter table dead_letters add column taken_by text[] not null default '{}';

-- A replayed message has all attempts of the retry policy again. Those it had before are kept here
-- and counted in, should it become a dead letter once more.
alter table inbox_retries add column earlier_attempts integer not null default 0;

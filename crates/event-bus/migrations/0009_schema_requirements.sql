-- What a program must know to work with this schema.
--
-- A program ignores applied migrations that it does not know, so that an older version can be
-- started again after a newer one has migrated the schema. A migration that older programs cannot
-- work with says so itself, for the table that records it:
--
--     insert into schema_requirements (migrations_table, oldest_program)
--     values ('_event_bus_migrations', 12)
--     on conflict (migrations_table) do update set oldest_program = excluded.oldest_program;
--
-- `_event_bus_migrations` records the bus's migrations, `_sqlx_migrations` the service's.
create table schema_requirements (
    migrations_table text primary key,
    -- The number of the newest migration that a program must know.
    oldest_program bigint not null check (oldest_program > 0)
);

-- Remembers that the demo products were put in, so that they come once: not again after somebody
-- deleted one of them, and not twice when two instances start together.
create table demo_data (
    name text primary key,
    inserted_at timestamptz not null default now()
);

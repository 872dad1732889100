-- What a shop would write an order into, for pgbench: a row of state, and a message beside it.
create table state (
    id uuid primary key,
    customer_name text not null,
    product_id uuid not null,
    quantity integer not null,
    placed_at timestamptz not null default now()
);
create table message (
    position bigint generated always as identity primary key,
    attributes jsonb not null,
    body bytea not null
);

-- The tables that pgbench writes an order to: a row of state, and a message.
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

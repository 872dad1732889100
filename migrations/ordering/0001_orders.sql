-- Orders, each with the present state, and what happened to them.
--
-- Everything an order shows is in its row: name and price of the product are copied when it is
-- placed, so that it is readable without any other service. PostgreSQL 15 and later.

create table orders (
    -- A UUIDv7: descending ids are newest first, and a page of orders is a range of ids.
    id uuid primary key,
    customer_name text not null check (char_length(customer_name) between 1 and 120),
    -- The signed-in user who ordered; null for a guest.
    customer_id uuid,
    product_id uuid not null,
    product_name text not null,
    quantity integer not null check (quantity between 1 and 999),
    unit_price numeric(15, 2) not null check (unit_price >= 0),
    -- What the whole order is reduced by. The total is unit_price * quantity - discount.
    discount numeric(18, 2) not null default 0
        check (discount between 0 and unit_price * quantity),
    state text not null default 'placed'
        check (state in ('placed', 'confirmed', 'rejected', 'cancelled')),
    -- Why it was rejected or cancelled, as a stable word.
    reason text,
    -- Rises with every change; the ETag of the order.
    version bigint not null default 1,
    placed_at timestamptz not null,
    updated_at timestamptz not null
) with (
    -- No index holds what changes after placing, so with room in the page an update of the state
    -- touches no index at all (a heap-only tuple).
    fillfactor = 80
);

create index orders_of_product on orders (product_id, id);
create index orders_of_customer on orders (customer_id, id) where customer_id is not null;

-- What happened to an order: transitions, other changes, and messages that changed nothing. Rows
-- are added in the transaction of the change itself and never altered. There is no foreign key:
-- nothing deletes orders, and the check would cost every order two look-ups.
create table order_history (
    id bigint generated always as identity,
    order_id uuid not null,
    at timestamptz not null default clock_timestamp(),
    -- `placed`, `confirmed`, `rejected`, `cancelled`, `discounted`, `renamed`, or `ignored` for a
    -- message that could do nothing in this state.
    what text not null,
    -- Null for the first one.
    from_state text,
    to_state text not null,
    -- The message that did it; null if a person did.
    message_id uuid,
    message_name text,
    -- The signed-in person who did it; null for a guest.
    user_id uuid,
    trace_id text,
    primary key (order_id, id),
    check ((message_id is null) = (message_name is null)),
    check (message_id is null or user_id is null)
);

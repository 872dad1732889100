-- What was decided about the stock of each order: one row for an order, ever.
--
-- A refusal is kept like a reservation, so that an order that asks again gets the same answer
-- whatever the stock has become. An order that was released before it was heard of has a row
-- without a product, and will get nothing.
create table reservations (
    order_id uuid primary key,
    -- No foreign key: decisions outlive the product, and one of them is that there is none.
    product_id uuid,
    quantity bigint
        constraint reservations_quantity_positive check (quantity > 0),
    state text not null
        constraint reservations_state_known
            check (state in ('reserved', 'out_of_stock', 'unknown_product', 'released')),
    decided_at timestamptz not null default now(),
    released_at timestamptz,
    constraint reservations_name_what_they_hold
        check ((product_id is null) = (quantity is null)
            and (product_id is not null or state = 'released')),
    constraint reservations_released_when_released
        check ((released_at is not null) = (state = 'released'))
);

-- A product with open reservations can't be deleted.
create index reservations_open on reservations (product_id) where state = 'reserved';

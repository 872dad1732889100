-- Products with their stock. PostgreSQL 15 and later.
--
-- The constraints repeat the rules of the domain types, so that no statement typed by hand can
-- store what the service could not have. Their names are part of the service: it tells by them
-- what was wrong.
create table products (
    id uuid primary key,
    name text not null
        constraint products_name_length check (char_length(name) between 2 and 120),
    description text
        constraint products_description_length check (char_length(description) between 1 and 2000),
    price numeric(10, 2) not null
        constraint products_price_range check (price >= 0),
    -- What is free to be reserved. It moves with every order and is no part of the version.
    stock_count integer not null
        constraint products_stock_count_range check (stock_count between 0 and 999999),
    release_date date,
    -- Rises with every change of the columns above other than the stock.
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
) with (
    -- Room on each page for the new version of a row: stock moves without touching an index.
    fillfactor = 70
);

-- The orders in which products are listed; the id makes each of them total.
create index products_by_name on products (name, id);
create index products_by_price on products (price, id);
create index products_by_creation on products (created_at, id);

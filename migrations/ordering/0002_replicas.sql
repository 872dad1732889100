-- What ordering knows of other services' entities, from their events. `version` is the owner's:
-- an older picture never replaces a newer one, in whichever order they arrive.

create table products (
    id uuid primary key,
    name text not null,
    price numeric(15, 2) not null check (price >= 0),
    version bigint not null,
    -- The row stays, so that a late event can't bring the product back.
    deleted boolean not null default false
);

create table customers (
    id uuid primary key,
    -- Null once the customer is deleted: personal data goes, the version stays.
    name text,
    version bigint not null,
    deleted boolean not null default false,
    check (deleted = (name is null))
);

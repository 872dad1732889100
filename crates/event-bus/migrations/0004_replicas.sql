-- Replicas: the copies that this service keeps of others' entities.

-- How far each replica is with being filled.
create table replicas (
    name text primary key,
    -- Which filling this is: rises when it is filled anew.
    fill bigint not null default 1,
    -- The last entity of the last page that was applied; null at the beginning.
    cursor uuid,
    -- Null while it is not complete.
    filled_at timestamptz
);

-- What the service has of each entity. Written in the transaction of the copy itself.
create table replica_versions (
    replica text not null,
    entity_id uuid not null,
    -- The owner's.
    version bigint not null,
    -- When the service learned that the entity is gone; the row stays for some time, so that what
    -- was said of the entity before can't bring it back.
    deleted_at timestamptz,
    -- The filling in which the owner had the entity, or which was the present one when the service
    -- first heard of it or of its end. When a filling is complete, what is older is no longer there.
    fill bigint not null,
    primary key (replica, entity_id)
) with (
    -- With room in the page, a new version touches no index.
    fillfactor = 80
);
create index replica_versions_deleted on replica_versions (deleted_at) where deleted_at is not null;

-- From here on the bus compares versions. It begins with those that are there, so that nothing
-- older replaces them; the first filling, which is the one with number 1, looks at all of them.

insert into replica_versions (replica, entity_id, version, deleted_at, fill)
select 'products', id, version, case when deleted then now() end, 0 from products
on conflict do nothing;

insert into replica_versions (replica, entity_id, version, deleted_at, fill)
select 'customers', id, version, case when deleted then now() end, 0 from customers
on conflict do nothing;

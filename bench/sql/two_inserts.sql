begin;
insert into state (id, customer_name, product_id, quantity) values (gen_random_uuid(), 'David', '5995897b-1de9-7272-b31c-3a165bbe7b18', 1);
insert into message (attributes, body) values ('{"id": "0193a0a0-0000-7000-8000-000000000000", "type": "ordering.order.placed", "source": "ordering", "time": "2026-01-01T00:00:00Z"}', '{"orderId": "0193a0a0-0000-7000-8000-000000000000", "quantity": 1}');
commit;

-- A release gives back what was reserved whatever the stock is, because pieces that exist must not
-- vanish from the books. The limit applies to what is put in: the service checks it for new
-- products and when it restocks.
alter table products
    drop constraint products_stock_count_range,
    add constraint products_stock_count_range check (stock_count >= 0);

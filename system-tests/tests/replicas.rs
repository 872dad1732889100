//! What ordering knows of products without having heard of them.

use std::time::Duration;

use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use system_tests::{Name, System, Urls};
use test_servers::{TestBroker, TestDatabase, eventually};

const BOUND: Duration = Duration::from_secs(60);

/// Takes away all that ordering has stored, as a new and empty database would.
const EMPTY: &str = "do $$
declare statement text;
begin
    for statement in
        select format('drop table %I cascade', relname) from pg_class
        where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')
              and not relispartition
        union all
        select format('drop routine %s cascade', oid::regprocedure) from pg_proc
        where pronamespace = current_schema()::regnamespace
    loop
        execute statement;
    end loop;
end $$";

#[tokio::test]
async fn ordering_sells_what_was_in_the_catalog_long_before_it_was_started() {
    let names = Name::ALL.map(Name::as_str);
    let (database, broker) = (
        TestDatabase::create(&names).await,
        TestBroker::create().await,
    );
    let mut system = System::prepare(Urls {
        databases: names.map(|name| database.url(name)),
        broker: broker.url(),
    });
    system.migrate();
    for name in [Name::Catalog, Name::Identity] {
        system.service_mut(name).start();
        system.service(name).wait_until_ready(BOUND).await;
    }
    let token = system.sign_in("olivia").await;
    let catalog = system.service(Name::Catalog).api().with_token(&token);
    let product = json!({ "name": "Samovar", "price": "149.00", "stockCount": 10 });
    let created = catalog.post("/api/catalog/product", product).await;
    let samovar = created.body["id"].as_str().expect("an id").to_owned();
    // Nobody was there to keep the event for.
    eventually("the event is gone", BOUND, async || {
        let waiting = "select count(*) from outbox";
        (system.count(Name::Catalog, waiting).await == 0).then_some(())
    })
    .await;
    assert!(broker.queue("ordering.products").await.is_none());

    for empty in [false, true] {
        if empty {
            system.service_mut(Name::Ordering).stop();
            let mut ordering = PgConnection::connect(&database.url("ordering"))
                .await
                .expect("ordering's database");
            sqlx::raw_sql(EMPTY)
                .execute(&mut ordering)
                .await
                .expect("it is empty");
            system.migrate();
            system.service_mut(Name::Catalog).start();
        }
        system.service_mut(Name::Ordering).start();
        system.service(Name::Ordering).wait_until_ready(BOUND).await;
        eventually("the replicas are filled", BOUND, async || {
            let filled = "select count(*) from replicas where filled_at is not null";
            (system.count(Name::Ordering, filled).await == 2).then_some(())
        })
        .await;
        // From here on there is nobody to ask.
        system.service_mut(Name::Catalog).stop();
        let placed = system.order(&samovar).await;
        assert_eq!(placed.status, 201, "{placed:?}");
        assert_eq!(placed.body["unitPrice"], "149.00", "{placed:?}");
        assert_eq!(placed.body["productName"], "Samovar", "{placed:?}");
    }
    let customers = "select count(*) from customers where not deleted";
    let users = "select count(*) from users";
    assert_eq!(
        system.count(Name::Ordering, customers).await,
        system.count(Name::Identity, users).await
    );
}

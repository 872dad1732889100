//! Requests that are dropped, and a schema that changes under the service.

use catalog::Catalog;
use reqwest::Method;
use serde_json::json;
use service_host::{Service as _, TestCall, uncalled};
use test_servers::{TableChange, cut_everywhere, eventually};
use uuid::Uuid;

use crate::support::{SOON, TestCatalog, order};

const PRODUCT: &str = "/api/catalog/product/{id}";

/// A request to each route. The product is gone after the last one.
fn calls(token: &str, product: Uuid) -> Vec<TestCall> {
    let tea = json!({ "name": "Tea", "price": "4.20" });
    let of_product = |method, route| TestCall::new(method, route).id(&product).token(token);
    let calls = vec![
        TestCall::new(Method::GET, "/api/catalog/product"),
        TestCall::new(Method::POST, "/api/catalog/product")
            .token(token)
            .body(tea.clone()),
        TestCall::new(Method::GET, "/integration-api/catalog/product")
            .query(format!("ids={product}")),
        of_product(Method::GET, PRODUCT),
        of_product(Method::PUT, PRODUCT).body(tea),
        of_product(Method::PUT, "/api/catalog/product/{id}/price").body(json!({ "price": "3.90" })),
        of_product(Method::POST, "/api/catalog/product/{id}/restock")
            .body(json!({ "quantity": 3 })),
        of_product(Method::DELETE, PRODUCT),
    ];
    let document = include_str!("../../openapi.json");
    assert_eq!(
        uncalled(document, &calls).expect("JSON"),
        Vec::<String>::new()
    );
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_dropped_anywhere_leaves_nothing_open() {
    let catalog = TestCatalog::start().await;
    let product = catalog.product("Tea", "4.20", 7).await;
    let running = &catalog.instance.running;
    let database = &catalog.servers.database;
    for call in calls(catalog.token(), product) {
        let (status, body) = cut_everywhere(&call.name(), || running.call(&call)).await;
        // An earlier one may have been carried out though it was dropped.
        assert!(
            !status.is_server_error(),
            "{}: {status} {body}",
            call.name()
        );
        eventually("no transaction is left open", SOON, async || {
            (database.idle_transactions("catalog").await == 0).then_some(())
        })
        .await;
        eventually("the relay's is the only lock", SOON, async || {
            (database.advisory_locks("catalog").await == 1).then_some(())
        })
        .await;
    }
    catalog.product("Coffee", "5.20", 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_messages_are_handled_while_the_schema_changes() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea", "4.20", 100).await;
    let mut left = 100;
    for change in [
        None,
        Some(TableChange::AddColumn),
        Some(TableChange::AddIndex),
        Some(TableChange::WidenColumns),
    ] {
        if let Some(change) = change {
            let database = &catalog.servers.database;
            database.change_tables(Catalog::NAME, change).await;
        }
        // More often than the service has sessions, several at a time.
        for _ in 0..5 {
            let transient = catalog.product("Coffee", "5.20", 7).await;
            let mut calls = calls(catalog.token(), transient);
            let delete = calls.split_off(calls.len() - 1);
            let running = &catalog.instance.running;
            let answers = futures::future::join_all(calls.iter().map(|call| running.call(call)));
            let mut answers = answers.await;
            answers.push(running.call(&delete[0]).await);
            for (status, body) in answers {
                assert!(status.is_success(), "after {change:?}: {status} {body}");
            }
            ordering.place(&[order(product, 1)]).await;
            left -= 1;
            catalog.wait_for_stock(product, left).await;
        }
    }
    let pool = catalog.servers.database.pool("catalog").await;
    let letters: i64 = sqlx::query_scalar("select count(*) from dead_letters")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(letters, 0);
}

//! What people do in the shop.

use event_bus::EntityCreatedEto;
use event_contracts::catalog::StockReservedEto;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use test_servers::eventually;
use uuid::Uuid;

use super::{SOON, Shop, catalog::product};

/// Somebody with an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) name: &'static str,
    pub(crate) permissions: &'static [&'static str],
}

impl Person {
    pub(crate) fn new(name: &'static str, permissions: &'static [&'static str]) -> Self {
        let id = Uuid::now_v7();
        Self {
            id,
            name,
            permissions,
        }
    }
}

/// The body of an order by David.
pub(crate) fn order_for(product: Uuid, quantity: u32) -> Value {
    json!({"customerName": "David", "productId": product, "quantity": quantity})
}

impl Shop {
    /// A request, by a person or a guest.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        who: Option<Person>,
    ) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match who {
            None => request,
            Some(Person {
                id,
                name,
                permissions,
            }) => request.bearer_auth(self.issuer.token(id, name, permissions)),
        }
    }

    pub(crate) async fn get(&self, path: &str, who: Option<Person>) -> Response {
        self.request(Method::GET, path, who).send().await.unwrap()
    }

    /// The JSON of what must be there.
    pub(crate) async fn read(&self, path: &str, who: Option<Person>) -> Value {
        let response = self.get(path, who).await;
        assert_eq!(response.status(), StatusCode::OK, "GET {path}");
        response.json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, who: Option<Person>) -> Response {
        self.request(Method::POST, path, who).send().await.unwrap()
    }

    /// Hands in an order, whatever comes of it.
    pub(crate) async fn try_order(&self, body: &Value, who: Option<Person>) -> Response {
        let request = self.request(Method::POST, "/api/ordering/order", who);
        request.json(body).send().await.unwrap()
    }

    /// Places an order and gives it back.
    pub(crate) async fn order(&self, body: &Value, who: Option<Person>) -> Value {
        let response = self.try_order(body, who).await;
        let status = response.status();
        let order: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{order}");
        order
    }

    /// Puts a product on sale: catalog publishes it, and ordering has heard.
    pub(crate) async fn sell(&self, name: &str, price: &str) -> Uuid {
        let id = Uuid::now_v7();
        let entity = product(id, name, price, 1);
        self.catalog.publish([EntityCreatedEto { entity }]).await;
        self.knows_version(id, 1).await;
        id
    }

    /// Waits until the replica has this version of a product.
    pub(crate) async fn knows_version(&self, product: Uuid, version: i64) {
        let what = format!("ordering knows version {version} of product {product}");
        eventually(&what, SOON, async || {
            let known: Option<i64> =
                sqlx::query_scalar("select version from products where id = $1")
                    .bind(product)
                    .fetch_optional(&self.pool)
                    .await
                    .unwrap();
            (known == Some(version)).then_some(())
        })
        .await;
    }

    /// Catalog has reserved the stock of an order.
    pub(crate) async fn reserve(&self, order: &Value) {
        let event = StockReservedEto {
            order_id: uuid(&order["id"]),
            product_id: uuid(&order["productId"]),
            quantity: 1,
        };
        self.catalog.publish([event]).await;
    }

    /// Waits until an order is in a state, and gives it back.
    pub(crate) async fn becomes(&self, order: &Value, state: &str, who: Option<Person>) -> Value {
        let path = path_of(order);
        let what = format!("order {} becomes {state}", order["id"]);
        eventually(&what, SOON, async || {
            let order = self.read(&path, who).await;
            (order["state"] == state).then_some(order)
        })
        .await
    }

    /// The history of an order.
    pub(crate) async fn history(&self, order: &Value, who: Option<Person>) -> Vec<Value> {
        let path = format!("{}/history", path_of(order));
        serde_json::from_value(self.read(&path, who).await).unwrap()
    }

    /// Waits until the history has so many entries, and gives it back.
    pub(crate) async fn history_of_length(
        &self,
        order: &Value,
        length: usize,
        who: Option<Person>,
    ) -> Vec<Value> {
        let what = format!("order {} has {length} entries in its history", order["id"]);
        eventually(&what, SOON, async || {
            let history = self.history(order, who).await;
            (history.len() >= length).then_some(history)
        })
        .await
    }

    /// Waits until a handler has had so many messages, in whichever order they were taken.
    pub(crate) async fn has_handled(&self, handler: &str, messages: i64) {
        let what = format!("{handler} has had {messages} messages");
        eventually(&what, SOON, async || {
            let taken: i64 = sqlx::query_scalar("select count(*) from inbox where handler = $1")
                .bind(handler)
                .fetch_one(&self.pool)
                .await
                .unwrap();
            (taken == messages).then_some(())
        })
        .await;
    }

    /// Name and reason of each message that ordering could not handle.
    pub(crate) async fn dead_letters(&self) -> Vec<(String, String)> {
        sqlx::query_as("select name, reasons[1] from dead_letters")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

pub(crate) fn path_of(order: &Value) -> String {
    format!("/api/ordering/order/{}", id_of(order))
}

pub(crate) fn id_of(order: &Value) -> &str {
    order["id"].as_str().unwrap()
}

pub(crate) fn uuid(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

/// `what` of each entry of a history.
pub(crate) fn whats(history: &[Value]) -> Vec<&str> {
    history
        .iter()
        .map(|entry| entry["what"].as_str().unwrap())
        .collect()
}

/// The body of a refusal, which must have this status and type.
pub(crate) async fn problem(response: Response, status: StatusCode, slug: &str) -> Value {
    let (found, headers) = (response.status(), response.headers().clone());
    let body: Value = response.json().await.unwrap();
    assert_eq!(found, status, "{body}");
    assert_eq!(headers["content-type"], "application/problem+json");
    let expected = format!("https://waybill.dev/problems/{slug}");
    assert_eq!(body["type"], expected.as_str(), "{body}");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        assert!(headers.contains_key("retry-after"), "{body}");
    }
    body
}

//! The AsyncAPI document: valid by the specification, and true.

use std::collections::BTreeSet;

use event_bus::{
    ConsumerGroup, DynamicHandler, EntityCreatedEto, EventBusBuilder, Handler, HandlerError,
    Message, Posted, Query, Received, Request, RespondError, Responder, UnitOfWork,
};
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use test_servers::AsyncApiSchema;
use uuid::Uuid;

use crate::support::{Article, BOUND, Client, Ground, OrderPlaced, Running, StockReserved, order};

/// A command whose type has no schema.
#[derive(Serialize, Deserialize)]
struct Release;

impl Message for Release {
    type Kind = event_bus::Command;
    const NAME: &'static str = "stock.release";
}

/// A question.
#[derive(Serialize, Deserialize, JsonSchema)]
struct GetCount {
    article: Uuid,
}

impl Message for GetCount {
    type Kind = Query;
    const NAME: &'static str = "stock.count.get";

    event_bus::json_schema!();
}

impl Request for GetCount {
    type Answer = u32;
    type Refusal = ();
}

struct Listen;

impl Responder<GetCount> for Listen {
    async fn respond(&self, _: Received<GetCount>) -> Result<u32, RespondError<()>> {
        Ok(0)
    }
}

impl<M: Message<Kind: Posted>> Handler<M> for Listen {
    async fn handle(&self, _: Received<M>, _: &mut UnitOfWork) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// One more, under another name.
struct Also(&'static str);

impl Handler<OrderPlaced> for Also {
    async fn handle(
        &self,
        _: Received<OrderPlaced>,
        _: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        self.0
    }
}

impl DynamicHandler for Also {
    async fn handle(&self, _: Received<Value>, _: &mut UnitOfWork) -> Result<(), HandlerError> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        self.0
    }
}

async fn stock(ground: &Ground) -> EventBusBuilder {
    let in_order = ConsumerGroup::new("in-order").ordered(2);
    let stock = ground.participant("stock").await;
    stock
        .handle::<OrderPlaced, _>(Listen)
        .handle::<OrderPlaced, _>(Also("Second"))
        .handle::<EntityCreatedEto<Article>, _>(Listen)
        .handle::<Release, _>(Listen)
        .answer::<GetCount, _>(Listen)
        .group(ConsumerGroup::new("audit").handle_dynamic("shop.*.#", Also("Audit")))
        .group(in_order.handle::<OrderPlaced, _>(Also("InOrder")))
        .publishes::<StockReserved>()
        .publishes::<StockReserved>()
        .publishes::<Release>()
}

fn specification() -> AsyncApiSchema {
    AsyncApiSchema::install(env!("CARGO_TARGET_TMPDIR"))
}

#[tokio::test]
async fn the_document_keeps_to_the_specification() {
    let ground = Ground::new().await;
    let document = stock(&ground).await.asyncapi("Stock", "1.2.3");
    assert_eq!(specification().errors(&document), [""; 0]);
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(
        document["info"],
        json!({ "title": "Stock", "version": "1.2.3" })
    );
    let empty = ground.participant("shop").await.asyncapi("Shop", "1");
    assert_eq!(specification().errors(&empty), [""; 0]);
}

/// The check of the test above can fail: each of these documents is wrong in one place.
#[tokio::test]
async fn a_document_that_breaks_the_specification_is_told_from_one_that_does_not() {
    let ground = Ground::new().await;
    let document = stock(&ground).await.asyncapi("Stock", "1.2.3");
    let specification = specification();
    let breaks: [(&str, Value); 9] = [
        ("/asyncapi", json!("2.6.0")),
        ("/info", json!({ "title": "no version" })),
        ("/channels/stock.release/address", json!(7)),
        ("/channels/stock.release/bindings/amqp/is", json!("topic")),
        (
            "/channels/stock.release/bindings/amqp/exchange/type",
            json!("quorum"),
        ),
        (
            "/channels/stock.release/messages/stock.release.v1/$ref",
            json!("#/nowhere"),
        ),
        ("/operations/send.stock.release.v1/action", json!("publish")),
        (
            "/components/messages/stock.release.v1/headers",
            json!({ "type": "headers" }),
        ),
        (
            "/components/correlationIds/correlation/location",
            json!("header"),
        ),
    ];
    for (place, value) in breaks {
        let mut broken = document.clone();
        *broken.pointer_mut(place).expect(place) = value;
        assert_ne!(specification.errors(&broken), [""; 0], "{place}");
    }
}

#[tokio::test]
async fn the_document_lists_what_is_handled_and_what_is_published() {
    let ground = Ground::new().await;
    let document = stock(&ground).await.asyncapi("Stock", "1.2.3");
    let operations = document["operations"].as_object().expect("operations");
    let ids: Vec<&str> = operations.keys().map(String::as_str).collect();
    let expected = [
        "receive.shop._word._words.stock.audit",
        "receive.shop.article.created.v1.stock",
        "receive.shop.order.placed.v2.stock",
        "receive.shop.order.placed.v2.stock.in-order",
        "receive.stock.count.get.v1.stock",
        "receive.stock.release.v1.stock",
        "send.stock.release.v1",
        "send.stock.reserved.v1",
    ];
    assert_eq!(ids, expected);
    let receive = &operations["receive.shop.order.placed.v2.stock"];
    assert_eq!(receive["x-handlers"], json!(["Listen", "Second"]));
    assert_eq!(receive["x-queues"], json!(["stock"]));
    let pattern = &document["channels"]["shop._word._words"];
    assert_eq!(pattern["address"], "shop.*.#");
    let query = &document["channels"]["stock.count.get"]["bindings"]["amqp"]["exchange"];
    assert_eq!(
        (&query["name"], &query["type"]),
        (&json!("queries"), &json!("direct"))
    );
    let reply = &operations["receive.stock.count.get.v1.stock"]["reply"]["address"];
    assert_eq!(reply["location"], "$message.header#/reply_to");
    let mandatory = |id: &str| operations[id]["bindings"]["amqp"]["mandatory"].clone();
    assert_eq!(mandatory("send.stock.release.v1"), true);
    assert_eq!(mandatory("send.stock.reserved.v1"), false);

    let messages = &document["components"]["messages"];
    let payload = |id: &str| messages[id]["payload"]["$ref"].clone();
    assert_eq!(
        payload("shop.order.placed.v2"),
        "#/components/schemas/OrderPlaced"
    );
    assert_eq!(payload("stock.release.v1"), Value::Null);
    let entity = &messages["shop.article.created.v1"]["payload"]["properties"]["entity"];
    assert_eq!(entity["$ref"], "#/components/schemas/Article");
    assert_eq!(
        messages["shop.order.placed.v2"]["summary"],
        "Somebody ordered."
    );
}

/// What the document says is bound for a queue: exchanges and routing keys.
fn documented_bindings(document: &Value, queue: &str) -> BTreeSet<(String, String)> {
    let operations = document["operations"].as_object().expect("operations");
    let of_queue = operations
        .values()
        .filter(|o| o["x-queues"] == json!([queue]));
    let binding = |operation: &Value| {
        let channel = operation["channel"]["$ref"].as_str()?.strip_prefix('#')?;
        let channel = document.pointer(channel)?;
        let exchange = channel["bindings"]["amqp"]["exchange"]["name"].as_str()?;
        Some((exchange.to_owned(), channel["address"].as_str()?.to_owned()))
    };
    let bindings = of_queue.map(|operation| binding(operation).expect("a binding"));
    bindings.collect()
}

#[tokio::test]
async fn queues_and_bindings_are_those_of_the_document() {
    let ground = Ground::new().await;
    let stock = stock(&ground).await;
    let document = stock.asyncapi("Stock", "1.2.3");
    let _stock = Running::start(stock).await;
    for queue in ["stock", "stock.audit"] {
        let documented = documented_bindings(&document, queue);
        assert!(!documented.is_empty());
        test_servers::eventually("the broker has what the document says", BOUND, async || {
            let found = ground.broker.bindings(queue).await.into_iter();
            // Every queue is bound to the default exchange, which has no name.
            let found = found.filter(|binding| !binding.exchange.is_empty());
            let found: BTreeSet<_> = found.map(|b| (b.exchange, b.routing_key)).collect();
            (found == documented).then_some(())
        })
        .await;
    }
    let queues = document["channels"].as_object().expect("channels").values();
    let queues: Vec<_> = queues
        .map(|channel| &channel["bindings"]["amqp"])
        .filter(|binding| binding["is"] == "queue")
        .map(|binding| &binding["queue"])
        .collect();
    assert_eq!(queues.len(), 4, "{queues:?}");
    for documented in queues {
        let name = documented["name"].as_str().expect("a name");
        let queue = test_servers::eventually("there is the queue", BOUND, async || {
            ground.broker.queue(name).await
        });
        assert_eq!(documented["durable"], queue.await.durable, "{name}");
    }
}

/// The headers of a delivery, as the document describes them.
fn headers(delivery: &Delivery) -> Value {
    let headers = delivery.properties.headers().as_ref().expect("headers");
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => json!(text.to_string()),
        AMQPValue::LongLongInt(number) => json!(number),
        other => panic!("a header of another type: {other:?}"),
    };
    let headers = headers.inner().iter();
    headers
        .map(|(name, v)| (name.to_string(), value(v)))
        .collect()
}

#[tokio::test]
async fn what_travels_is_what_the_document_says() {
    let ground = Ground::new().await;
    let shop = ground.participant("shop").await.publishes::<OrderPlaced>();
    let shop = shop.publishes::<EntityCreatedEto<Article>>();
    let document = shop.asyncapi("Shop", "1");
    let client = Client::connect(&ground).await;
    let mut orders = client.tap("shop.order.placed").await;
    let mut articles = client.tap("shop.article.created").await;
    let shop = Running::start(shop).await;
    shop.publish(&order(1)).await;
    let (id, version) = (Uuid::now_v7(), 1);
    let entity = Article { id, version };
    shop.publish(&EntityCreatedEto { entity }).await;

    for (message, delivery) in [
        ("shop.order.placed.v2", orders.next().await),
        ("shop.article.created.v1", articles.next().await),
    ] {
        let headers = headers(&delivery);
        let body: Value = serde_json::from_slice(&delivery.data).expect("it is JSON");
        for (part, value) in [("headers", &headers), ("payload", &body)] {
            // The document as the root, so that references within it are found.
            let mut schema = document.clone();
            schema["allOf"] =
                json!([{ "$ref": format!("#/components/messages/{message}/{part}") }]);
            let schema = jsonschema::draft7::options()
                .should_validate_formats(true)
                .build(&schema)
                .expect("a schema");
            let errors: Vec<_> = schema.iter_errors(value).map(|e| e.to_string()).collect();
            assert_eq!(errors, [""; 0], "{part} of {message}: {value:#}");
            assert!(
                !schema.is_valid(&json!({})),
                "{part} of {message} says nothing"
            );
        }
        let described = &document["components"]["schemas"]["cloud-event-headers"]["properties"];
        for name in headers.as_object().expect("headers").keys() {
            assert!(described.get(name).is_some(), "{name} is not described");
        }
    }
}

//! Queries on a broker that fails, and among clients that know no rules.

use std::time::{Duration, Instant};

use event_bus::{EventBus, Message as _, RabbitMq, RequestError};
use futures::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use test_servers::FaultProxy;
use tokio::time::timeout;
use uuid::Uuid;

use super::{GetPrice, NoPrice, Price, PriceList, start_answering};
use crate::support::{BOUND, Ground, Running, quick};

const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A client that knows AMQP and nothing else.
struct PlainClient {
    connection: Connection,
    channel: Channel,
}

impl PlainClient {
    async fn connect(ground: &Ground) -> Self {
        let url = ground.broker().url();
        let connection = Connection::connect(&url, ConnectionProperties::default())
            .await
            .expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        Self {
            connection,
            channel,
        }
    }

    async fn publish(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions::default();
        self.channel
            .basic_publish(exchange.into(), key.into(), options, body, properties)
            .await
            .expect("it is sent");
    }

    async fn consume(&self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        self.channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await
            .expect("it consumes")
    }

    async fn close(self) {
        let closing = self.connection.close(200, "done".into());
        closing.await.expect("all is sent");
    }
}

fn header(name: &str, value: &str) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(name.into(), AMQPValue::LongString(value.into()));
    headers
}

/// A query as a plain client sets it.
fn query() -> BasicProperties {
    BasicProperties::default()
        .with_message_id(Uuid::now_v7().to_string().into())
        .with_type(GetPrice::NAME.into())
        .with_reply_to(DIRECT_REPLY_TO.into())
}

async fn start_shop(ground: &Ground, url: &str) -> Running {
    let pool = ground.database.pool("shop").await;
    let rabbitmq = RabbitMq::new(url).expect("a broker's address");
    Running::start(EventBus::builder("shop", pool, rabbitmq).settings(quick())).await
}

async fn start_both(ground: &Ground) -> (Running, Running) {
    let shop = start_shop(ground, &ground.broker().url()).await;
    let stock = ground.participant("stock").await.answer(PriceList);
    let stock = start_answering(&shop.bus, stock).await;
    (shop, stock)
}

async fn ask(shop: &Running) -> Result<Price, RequestError<NoPrice>> {
    shop.bus.request(&GetPrice { product: 1 }, BOUND).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_client_can_ask_and_the_answer_continues_its_trace() {
    let ground = Ground::rabbitmq().await;
    let (_shop, _stock) = start_both(&ground).await;
    let client = PlainClient::connect(&ground).await;
    let mut replies = client.consume(DIRECT_REPLY_TO).await;
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let properties = query()
        .with_correlation_id("of my own making".into())
        .with_headers(header("traceparent", &traceparent));
    client
        .publish("queries", GetPrice::NAME, properties, br#"{"product":4}"#)
        .await;
    let reply = timeout(BOUND, replies.next()).await.expect("a reply");
    let reply = reply.expect("it is open").expect("it can be read");
    let answer: Price = serde_json::from_slice(&reply.data).expect("it is a price");
    assert_eq!(answer, Price { cents: 40 });
    let correlation_id = reply.properties.correlation_id().as_ref();
    assert_eq!(
        correlation_id.map(ToString::to_string).as_deref(),
        Some("of my own making")
    );
    let headers = reply.properties.headers().clone().unwrap_or_default();
    let text = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("header {name} is {other:?}"),
    };
    assert_eq!(text("cloudEvents_outcome"), "answered");
    assert_eq!(text("cloudEvents_type"), "stock.price.get.reply");
    assert_eq!(text("cloudEvents_source"), "stock");
    assert_eq!(text("traceparent"), traceparent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_stops_nobody() {
    let ground = Ground::rabbitmq().await;
    let (shop, _stock) = start_both(&ground).await;
    let client = PlainClient::connect(&ground).await;
    let bystander = QueueDeclareOptions::durable();
    client
        .channel
        .queue_declare("bystander".into(), bystander, FieldTable::default())
        .await
        .expect("a queue");
    let readable = br#"{"product":4}"#.as_slice();
    let queries: [(BasicProperties, &[u8]); 9] = [
        (BasicProperties::default(), readable),
        (BasicProperties::default().with_type("x".into()), b""),
        (query().with_reply_to("bystander".into()), readable),
        (
            query().with_reply_to(format!("{DIRECT_REPLY_TO}.no address").into()),
            readable,
        ),
        (
            query().with_reply_to(format!("{DIRECT_REPLY_TO}.").into()),
            readable,
        ),
        (
            query().with_headers(header("cloudEvents_type", &"x".repeat(10_000))),
            readable,
        ),
        (query().with_expiration("0".into()), readable),
        (query().with_reply_to(String::new().into()), b"\0"),
        (
            query().with_reply_to("x".repeat(255).into()),
            &[b'['; 100_000],
        ),
    ];
    let _replies = client.consume(DIRECT_REPLY_TO).await;
    // More often than there is room for at once: none of them may keep its place.
    for _ in 0..20 {
        for (properties, body) in &queries {
            client
                .publish("queries", GetPrice::NAME, properties.clone(), body)
                .await;
        }
    }
    let too_large = vec![b' '; event_bus::MAX_BODY_BYTES + 1];
    client
        .publish("queries", GetPrice::NAME, query(), &too_large)
        .await;
    for _ in 0..10 {
        assert_eq!(ask(&shop).await.expect("an answer"), Price { cents: 10 });
    }
    test_servers::eventually("all are answered for", BOUND, async || {
        let queue = ground
            .broker()
            .queue("stock.queries.stock.price.get")
            .await?;
        (queue.messages == 0).then_some(())
    })
    .await;
    let bystander = ground.broker().queue("bystander").await;
    assert_eq!(bystander.expect("it is there").messages, 0);
    client.close().await;
}

/// A client that gets the queries as if it were a service.
async fn start_impostor(ground: &Ground) -> PlainClient {
    let client = PlainClient::connect(ground).await;
    let queue = "impostor";
    let channel = &client.channel;
    channel
        .queue_declare(
            queue.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .expect("a queue");
    channel
        .queue_bind(
            queue.into(),
            "queries".into(),
            GetPrice::NAME.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("it is bound");
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_replied_harms_nobody() {
    let ground = Ground::rabbitmq().await;
    let shop = start_shop(&ground, &ground.broker().url()).await;
    // The first query brings the exchange about.
    let nobody = ask(&shop).await;
    assert!(matches!(nobody, Err(RequestError::NobodyAnswers { .. })));
    let impostor = start_impostor(&ground).await;
    let mut queries = impostor.consume("impostor").await;
    let answered = header("cloudEvents_outcome", "answered");
    let mut too_large = br#"{"cents":1}"#.to_vec();
    too_large.resize(event_bus::MAX_BODY_BYTES + 1, b' ');
    let no_replies: [(FieldTable, &[u8]); 6] = [
        (FieldTable::default(), br#"{"cents":1}"#),
        (header("cloudEvents_outcome", "perhaps"), br#"{"cents":1}"#),
        (answered.clone(), b"\0\xff"),
        (answered.clone(), &too_large),
        (header("cloudEvents_outcome", "refused"), b"{}"),
        (header("cloudEvents_outcome", "failed"), b""),
    ];
    for (headers, body) in no_replies {
        let answering = async {
            let query = timeout(BOUND, queries.next()).await.expect("a query");
            let query = query.expect("it is open").expect("it can be read");
            let to = query.properties.reply_to().clone().expect("an address");
            let reply = BasicProperties::default().with_headers(headers.clone());
            let good = BasicProperties::default().with_headers(answered.clone());
            let strangers = [
                good.clone(),
                good.clone().with_correlation_id("no uuid".into()),
                good.with_correlation_id(Uuid::now_v7().to_string().into()),
            ];
            for stranger in strangers {
                impostor
                    .publish("", to.as_str(), stranger, br#"{"cents":9}"#)
                    .await;
            }
            let id = query.properties.correlation_id().clone().expect("an id");
            // Twice: of two replies to one query the second has nobody who waits.
            for _ in 0..2 {
                let reply = reply.clone().with_correlation_id(id.clone());
                impostor.publish("", to.as_str(), reply, body).await;
            }
        };
        let (answer, ()) = tokio::join!(ask(&shop), answering);
        assert!(
            matches!(answer, Err(RequestError::UnreadableAnswer { .. })),
            "{headers:?}: {answer:?}"
        );
    }
    impostor.close().await;
    let deleted = PlainClient::connect(&ground).await;
    let options = lapin::options::QueueDeleteOptions::default();
    let deleting = deleted.channel.queue_delete("impostor".into(), options);
    deleting.await.expect("it is gone");
    let stock = ground.participant("stock").await.answer(PriceList);
    let _stock = start_answering(&shop.bus, stock).await;
    assert_eq!(ask(&shop).await.expect("an answer"), Price { cents: 10 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_told_at_once_and_the_next_query_is_asked_again() {
    let ground = Ground::rabbitmq().await;
    let proxy = FaultProxy::before(&ground.broker().url()).await;
    let shop = start_shop(&ground, proxy.url()).await;
    assert!(ask(&shop).await.is_err(), "nobody answers yet");
    let silent = start_impostor(&ground).await;
    let mut queries = silent.consume("impostor").await;
    let cutting = async {
        for _ in 0..50 {
            let query = timeout(BOUND, queries.next()).await;
            query
                .expect("a query comes")
                .expect("it is open")
                .expect("it can be read");
        }
        proxy.cut().await;
        Instant::now()
    };
    let waiting = futures::future::join_all((0..50).map(|_| ask(&shop)));
    let (answers, cut) = tokio::join!(waiting, cutting);
    assert!(cut.elapsed() < BOUND / 4, "they were told late");
    for answer in answers {
        assert!(matches!(answer, Err(RequestError::Disconnected { .. })));
    }
    let away = GetPrice { product: 1 };
    let answer = shop.bus.request(&away, Duration::from_millis(200)).await;
    assert!(matches!(answer, Err(RequestError::Disconnected { .. })));

    let stock = ground.participant("stock").await.answer(PriceList);
    let _stock = Running::start(stock).await;
    proxy.restore().await;
    // The query is asked as soon as there is a connection: the silent one has it as well, and
    // the first answer counts.
    let answer = test_servers::eventually("the answer comes", BOUND, async || {
        let within = Duration::from_secs(5);
        shop.bus
            .request(&GetPrice { product: 1 }, within)
            .await
            .ok()
    });
    assert_eq!(answer.await, Price { cents: 10 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_closes_every_connection_is_asked_again() {
    let ground = Ground::rabbitmq().await;
    let (shop, _stock) = start_both(&ground).await;
    assert!(ground.broker().close_connections().await > 0);
    test_servers::eventually("queries are answered again", BOUND, async || {
        ask(&shop).await.ok()
    })
    .await;
}

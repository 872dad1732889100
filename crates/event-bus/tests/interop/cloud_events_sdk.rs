//! The SDK of the CloudEvents project. It has no binding for AMQP: what maps an event's attributes
//! to headers is written here, after the binding's specification and for both directions.

use cloudevents::event::{ExtensionValue, SpecVersion};
use cloudevents::message::{
    BinaryDeserializer, BinarySerializer, Error, MessageAttributeValue, Result,
};
use cloudevents::{AttributesReader as _, Data, EventBuilder as _, EventBuilderV10};
use event_bus::{EventBus, InMemory, Message as _, StartError};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Client, Ground, OrderPlaced, Running, order};

const PREFIX: &str = "cloudEvents_";

/// A delivery, as the SDK reads one.
struct Incoming<'a>(&'a Delivery);

impl BinaryDeserializer for Incoming<'_> {
    fn deserialize_binary<R, V: BinarySerializer<R>>(self, mut event: V) -> Result<R> {
        let properties = &self.0.properties;
        let headers = properties
            .headers()
            .as_ref()
            .ok_or(Error::WrongEncoding {})?;
        let attribute = |(name, value): (&lapin::types::ShortString, &AMQPValue)| {
            let name = name.as_str().strip_prefix(PREFIX)?.to_owned();
            Some((name, value.clone()))
        };
        let mut attributes: Vec<_> = headers.inner().iter().filter_map(attribute).collect();
        let version = attributes
            .iter()
            .position(|(name, _)| name == "specversion");
        let (_, version) = attributes.remove(version.ok_or(Error::WrongEncoding {})?);
        let version = SpecVersion::try_from(from_amqp(version)?.to_string().as_str())?;
        event = event.set_spec_version(version.clone())?;
        if let Some(content_type) = properties.content_type() {
            let content_type = MessageAttributeValue::String(content_type.to_string());
            event = event.set_attribute("datacontenttype", content_type)?;
        }
        for (name, value) in attributes {
            event = if version.attribute_names().contains(&name.as_str()) {
                event.set_attribute(&name, from_amqp(value)?)?
            } else {
                event.set_extension(&name, from_amqp(value)?)?
            };
        }
        event.end_with_data(self.0.data.clone())
    }
}

fn from_amqp(value: AMQPValue) -> Result<MessageAttributeValue> {
    match value {
        AMQPValue::LongString(text) => Ok(MessageAttributeValue::String(text.to_string())),
        AMQPValue::LongLongInt(number) => Ok(MessageAttributeValue::Integer(number)),
        AMQPValue::Boolean(value) => Ok(MessageAttributeValue::Boolean(value)),
        _ => Err(Error::WrongEncoding {}),
    }
}

/// An event of the SDK, as it is published.
#[derive(Default)]
struct Outgoing {
    properties: BasicProperties,
    headers: FieldTable,
}

impl Outgoing {
    fn set(mut self, name: &str, value: MessageAttributeValue) -> Self {
        let value = match value {
            MessageAttributeValue::Integer(number) => AMQPValue::LongLongInt(number),
            MessageAttributeValue::Boolean(value) => AMQPValue::Boolean(value),
            other => AMQPValue::LongString(other.to_string().into()),
        };
        self.headers.insert(format!("{PREFIX}{name}").into(), value);
        self
    }
}

impl BinarySerializer<(BasicProperties, Vec<u8>)> for Outgoing {
    fn set_spec_version(self, version: SpecVersion) -> Result<Self> {
        Ok(self.set(
            "specversion",
            MessageAttributeValue::String(version.to_string()),
        ))
    }

    fn set_attribute(mut self, name: &str, value: MessageAttributeValue) -> Result<Self> {
        if name == "datacontenttype" {
            self.properties = self.properties.with_content_type(value.to_string().into());
            return Ok(self);
        }
        Ok(self.set(name, value))
    }

    fn set_extension(self, name: &str, value: MessageAttributeValue) -> Result<Self> {
        Ok(self.set(name, value))
    }

    fn end_with_data(self, bytes: Vec<u8>) -> Result<(BasicProperties, Vec<u8>)> {
        Ok((self.properties.with_headers(self.headers), bytes))
    }

    fn end(self) -> Result<(BasicProperties, Vec<u8>)> {
        self.end_with_data(Vec::new())
    }
}

#[tokio::test]
async fn the_cloud_events_sdk_reads_what_is_published() {
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    let mut tap = client.tap(OrderPlaced::NAME).await;
    let shop = Running::start(ground.participant("shop").await).await;
    let before = jiff::Timestamp::now();
    let order = order(3);
    shop.publish(&order).await;

    let delivery = tap.next().await;
    let event = BinaryDeserializer::into_event(Incoming(&delivery)).expect("it is an event");
    assert_eq!(event.specversion(), SpecVersion::V10);
    assert_eq!(event.ty(), OrderPlaced::NAME);
    assert_eq!(event.source().as_str(), "shop");
    assert_eq!(event.datacontenttype(), Some("application/json"));
    let id: Uuid = event.id().parse().expect("a UUID");
    assert_eq!(id.get_version_num(), 7);
    let time: jiff::Timestamp = event
        .time()
        .expect("a time")
        .to_rfc3339()
        .parse()
        .expect("a time");
    assert!((before..=jiff::Timestamp::now()).contains(&time), "{time}");

    let extension = |name| event.extension(name).cloned();
    assert_eq!(extension("dataversion"), Some(ExtensionValue::Integer(2)));
    let key = ExtensionValue::String(order.order_id.to_string());
    assert_eq!(extension("partitionkey"), Some(key));
    let Some(ExtensionValue::String(correlation)) = extension("correlationid") else {
        panic!("a correlation id: {event}");
    };
    assert!(correlation.parse::<Uuid>().is_ok(), "{correlation}");
    assert_eq!(event.iter_extensions().count(), 3, "{event}");

    let expected = serde_json::to_value(&order).expect("it is JSON");
    let data = event.data().cloned().expect("data");
    assert_eq!(Value::try_from(data).expect("JSON"), expected);
}

#[tokio::test]
async fn an_event_of_the_cloud_events_sdk_is_handled() {
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    let (_stock, mut heard) = ground.listening_stock().await;
    let (id, correlation, order_id) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::now_v7());
    let data = json!({ "orderId": order_id, "quantity": 7 });
    let event = EventBuilderV10::new()
        .id(id.to_string())
        .ty(OrderPlaced::NAME)
        .source("https://partner.example/orders?region=eu#1")
        .time("2024-11-01T12:30:00.123456+02:00")
        .data("application/json", data)
        .extension("correlationid", correlation.to_string())
        .extension("dataversion", 2)
        .extension("vendorflag", true)
        .build()
        .expect("an event");
    assert!(matches!(event.data(), Some(Data::Json(_))));
    let (properties, body) = event
        .deserialize_binary(Outgoing::default())
        .expect("it is serialized");
    client.publish(properties, &body).await;

    let received = heard.next().await;
    assert_eq!(received.id(), id);
    assert_eq!(received.name(), OrderPlaced::NAME);
    assert_eq!(
        received.source(),
        "https://partner.example/orders?region=eu#1"
    );
    assert_eq!(received.time().to_string(), "2024-11-01T10:30:00.123456Z");
    assert_eq!(received.correlation_id(), correlation);
    let expected = OrderPlaced {
        order_id,
        quantity: 7,
        remark: None,
    };
    assert_eq!(received.into_inner(), expected);
}

/// The rules that a lenient reader would not notice the breach of.
#[tokio::test]
async fn what_is_published_keeps_to_the_letter_of_the_binding() {
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    let mut tap = client.tap(OrderPlaced::NAME).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.publish(&order(1)).await;

    let delivery = tap.next().await;
    let headers = delivery.properties.headers().as_ref().expect("headers");
    for (name, value) in headers.inner() {
        let name = name.as_str();
        let Some(attribute) = name.strip_prefix(PREFIX) else {
            assert_eq!(name, "partition-bucket", "nothing else without a trace");
            continue;
        };
        let may_stand_in_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        assert!(attribute.chars().all(may_stand_in_a_name), "{attribute}");
        assert!(attribute.len() <= 20, "{attribute}");
        let is_typed = match attribute {
            "dataversion" => *value == AMQPValue::LongLongInt(2),
            _ => matches!(value, AMQPValue::LongString(text) if !text.as_bytes().is_empty()),
        };
        assert!(is_typed, "{name}: {value:?}");
    }
    let header = |name: &str| headers.inner().get(name).cloned();
    for required in ["specversion", "id", "source", "type"] {
        assert!(
            header(&format!("{PREFIX}{required}")).is_some(),
            "{required}"
        );
    }
    assert_eq!(header("cloudEvents_datacontenttype"), None);
    let content_type = delivery.properties.content_type().as_ref();
    assert_eq!(
        content_type.map(lapin::types::ShortString::as_str),
        Some("application/json")
    );
}

#[tokio::test]
async fn a_service_whose_name_could_be_no_source_is_refused() {
    let ground = Ground::new().await;
    for name in [
        "",
        "my shop",
        "stock.dead",
        "schöner-shop",
        "shop#1",
        "a\0b",
        &"a".repeat(101),
    ] {
        let named = EventBus::builder(name, ground.pool("shop").await, InMemory::new());
        let refused = named.start(CancellationToken::new()).await.err();
        let name = name.to_owned();
        assert_eq!(refused, Some(StartError::InvalidService { name }));
    }
}

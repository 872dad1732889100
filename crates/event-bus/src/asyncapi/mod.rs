//! The [AsyncAPI 3.0](https://www.asyncapi.com/docs/reference/specification/v3.0.0) document of a
//! service, from what it registers.
//!
//! A name is a channel, with the name as its address, so that what one service's document sends is
//! found in another one's under the same address. A queue is a channel of its own: the binding for
//! AMQP knows a channel as the one or the other.

mod channels;
mod contracts;
mod headers;
mod messages;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

pub(crate) use self::contracts::{Body, Contract};
use crate::builder::EventBusBuilder;
use crate::message::Message;

/// Where the document keeps the schemas of types.
const SCHEMAS: &str = "/components/schemas";

impl EventBusBuilder {
    /// Says that the service publishes this event, sends this command or asks this query, for its
    /// [document](Self::asyncapi). What it handles and answers is known anyway.
    pub fn publishes<M: Message>(mut self) -> Self {
        let contract = Contract::sent::<M>();
        if self
            .published
            .iter()
            .all(|known| known.name != contract.name)
        {
            self.published.push(contract);
        }
        self
    }

    /// The [AsyncAPI 3.0](https://www.asyncapi.com/docs/reference/specification/v3.0.0) document
    /// of what has been registered so far: handlers, responders, and what the service
    /// [publishes](Self::publishes).
    ///
    /// A message has its body described if its type says how, see [`Message::schema`]; a pattern
    /// has no messages. Subscriptions at run time are not in it. The document names no servers, since a bus has the same contract wherever it runs. Nothing is
    /// connected for it.
    ///
    /// ```
    /// use event_bus::{Event, EventBus, InMemory, Message};
    /// # use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    /// struct OrderPlaced {
    ///     order_id: uuid::Uuid,
    /// }
    ///
    /// impl Message for OrderPlaced {
    ///     type Kind = Event;
    ///     const NAME: &'static str = "ordering.order.placed";
    ///     event_bus::json_schema!();
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let pool = PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new());
    /// let bus = EventBus::builder("ordering", pool, InMemory::new()).publishes::<OrderPlaced>();
    /// let document = bus.asyncapi("Orders", "1.0.0");
    /// let channel = &document["channels"]["ordering.order.placed"];
    /// assert_eq!(channel["bindings"]["amqp"]["exchange"]["name"], "events");
    /// # }
    /// ```
    #[must_use]
    pub fn asyncapi(&self, title: &str, version: &str) -> Value {
        document(&contracts::of(self), title, version)
    }
}

fn document(contracts: &[Contract], title: &str, version: &str) -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let messages = messages::of(contracts, &mut generator);
    let mut schemas: Map<String, Value> = generator.take_definitions(true);
    schemas.insert(headers::NAME.to_owned(), headers::schema());
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": title, "version": version },
        "defaultContentType": "application/json",
        "channels": channels::of(contracts),
        "operations": channels::operations(contracts),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "correlationIds": { headers::CORRELATION: headers::correlation_id() },
        },
    })
}

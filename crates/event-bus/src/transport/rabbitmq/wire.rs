//! An envelope as AMQP 0-9-1 properties and back.
//!
//! CloudEvents binary mode, after its
//! [AMQP binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md):
//! attributes are headers with the prefix `cloudEvents_`, the body is the data. What AMQP has a
//! property for (`message_id`, `type`, `app_id`, `content_type`, `timestamp`) stands there as
//! well, and serves a publisher that knows no CloudEvents. Trace context is in the headers
//! `traceparent` and `tracestate`. The header `partition-bucket` sorts messages with a partition
//! key into the partitions of ordered groups, see [`bucket_of`]. Events in
//! [structured mode](Structured) are read, too.

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;

use super::structured::Structured;
use super::topology;
use crate::envelope::{Envelope, TraceContext};
use crate::message::Kind;
use crate::partition::bucket_of;
use crate::transport::Malformed;

pub(super) const PREFIX: &str = "cloudEvents_";
const SPEC_VERSION: &str = "1.0";
const PERSISTENT: u8 = 2;
/// What the specification of trace context says should be passed on.
const MAX_TRACESTATE_BYTES: usize = 512;

/// The properties an envelope is published with.
pub(super) fn properties(envelope: &Envelope) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut bucket = None;
    let mut set = |name: String, value: AMQPValue| {
        headers.insert(ShortString::from(name), value);
    };
    let mut attribute = |name: &str, value: &str| set(format!("{PREFIX}{name}"), text(value));
    attribute("specversion", SPEC_VERSION);
    attribute("id", &envelope.id.to_string());
    attribute("type", &envelope.name);
    attribute("source", &envelope.source);
    attribute("time", &envelope.time.to_string());
    attribute("correlationid", &envelope.correlation_id.to_string());
    if let Some(causation_id) = envelope.causation_id {
        attribute("causationid", &causation_id.to_string());
    }
    if let Some(key) = &envelope.partition_key {
        attribute("partitionkey", key);
        bucket = Some(bucket_of(key));
    }
    let version = AMQPValue::LongLongInt(envelope.version.into());
    set(format!("{PREFIX}dataversion"), version);
    if let Some(bucket) = bucket {
        set(topology::BUCKET.to_owned(), text(&bucket.to_string()));
    }
    if let Some(traceparent) = &envelope.trace.traceparent {
        set("traceparent".to_owned(), text(traceparent));
    }
    if let Some(tracestate) = &envelope.trace.tracestate {
        set("tracestate".to_owned(), text(tracestate));
    }
    BasicProperties::default()
        .with_message_id(envelope.id.to_string().into())
        .with_type(envelope.name.as_str().into())
        .with_app_id(envelope.source.as_str().into())
        .with_content_type("application/json".into())
        .with_timestamp(envelope.time.as_second().unsigned_abs())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers)
}

/// Reads a delivery. A message needs an id and a name; the rest has defaults.
pub(super) fn read(delivery: Delivery) -> Result<Envelope, Malformed> {
    let kind = match delivery.exchange.as_str() {
        topology::COMMANDS => Kind::Command,
        topology::QUERIES => Kind::Query,
        _ => Kind::Event,
    };
    let body = Bytes::from(delivery.data);
    envelope(&delivery.properties, kind, &body).map_err(|reason| Malformed { reason, body })
}

fn envelope(properties: &BasicProperties, kind: Kind, body: &Bytes) -> Result<Envelope, String> {
    let content_type = properties.content_type().as_ref();
    let content_type = content_type.map_or("", ShortString::as_str);
    let reader = Reader {
        properties,
        structured: Structured::read(content_type, body)?,
    };
    reader.check()?;
    let body = match &reader.structured {
        Some(event) => event.data(body)?,
        None => body.clone(),
    };
    Ok(Envelope {
        body,
        ..reader.envelope(kind)?
    })
}

struct Reader<'a> {
    properties: &'a BasicProperties,
    /// The attributes, if they are not among the headers.
    structured: Option<Structured<'a>>,
}

impl Reader<'_> {
    /// Nothing that is stored as text may hold a NUL, which PostgreSQL takes nowhere.
    fn check(&self) -> Result<(), String> {
        let headers = self.properties.headers().as_ref();
        let headers = headers.into_iter().flat_map(FieldTable::inner);
        for (name, value) in headers {
            let has_nul = match value {
                AMQPValue::LongString(value) => value.as_bytes().contains(&0),
                AMQPValue::ShortString(value) => value.as_str().contains('\0'),
                _ => false,
            };
            if has_nul {
                return Err(format!("its header {:?} holds a NUL", name.as_str()));
            }
        }
        let properties = [
            ("message id", self.property(BasicProperties::message_id)),
            ("type", self.property(BasicProperties::kind)),
            ("app id", self.property(BasicProperties::app_id)),
        ];
        match properties
            .iter()
            .find(|(_, value)| value.as_ref().is_some_and(|v| v.contains('\0')))
        {
            Some((name, _)) => Err(format!("its {name} holds a NUL")),
            None => Ok(()),
        }
    }

    fn envelope(&self, kind: Kind) -> Result<Envelope, String> {
        if let Some(other) = self.attribute("specversion").filter(|v| v != SPEC_VERSION) {
            return Err(format!(
                "it is an event of CloudEvents `{other}`, not {SPEC_VERSION}"
            ));
        }
        let id = self
            .attribute("id")
            .or_else(|| self.property(BasicProperties::message_id))
            .ok_or("it has neither `cloudEvents_id` nor a message id")?;
        let id = Uuid::parse_str(&id).map_err(|_| format!("its id `{id}` is no UUID"))?;
        let name = self
            .attribute("type")
            .or_else(|| self.property(BasicProperties::kind))
            .ok_or("it has neither `cloudEvents_type` nor a type")?;
        let version = match self.attribute("dataversion") {
            Some(version) => version
                .parse()
                .map_err(|_| format!("its dataversion `{version}` is no number"))?,
            None => 1,
        };
        Ok(Envelope {
            id,
            name,
            version,
            kind,
            source: self
                .attribute("source")
                .or_else(|| self.property(BasicProperties::app_id))
                .unwrap_or_default(),
            time: self.time(),
            partition_key: self.attribute("partitionkey"),
            correlation_id: self.uuid("correlationid").unwrap_or(id),
            causation_id: self.uuid("causationid"),
            trace: self.trace(),
            mandatory: false,
            body: Bytes::new(),
        })
    }

    /// What is no trace context is left out, as its specification asks: it would be passed on.
    fn trace(&self) -> TraceContext {
        let either = |name| self.header(name).or_else(|| self.attribute(name));
        let is_hex = |part: &str| part.chars().all(|c| c.is_ascii_hexdigit());
        let is_traceparent = |text: &String| {
            text.split('-').map(str::len).eq([2, 32, 16, 2]) && text.split('-').all(is_hex)
        };
        TraceContext {
            traceparent: either("traceparent").filter(is_traceparent),
            tracestate: either("tracestate").filter(|text| text.len() <= MAX_TRACESTATE_BYTES),
        }
    }

    /// A number is taken for milliseconds since 1970: a timestamp of AMQP 1.0, which the binding
    /// lets a publisher write as well as text.
    fn time(&self) -> Timestamp {
        let attribute = self.attribute("time").and_then(|time| match time.parse() {
            Ok(milliseconds) => Timestamp::from_millisecond(milliseconds).ok(),
            Err(_) => time.parse().ok(),
        });
        let property = || (*self.properties.timestamp()).and_then(instant);
        attribute.or_else(property).unwrap_or_else(Timestamp::now)
    }

    fn uuid(&self, name: &str) -> Option<Uuid> {
        self.attribute(name)?.parse().ok()
    }

    fn attribute(&self, name: &str) -> Option<String> {
        if let Some(event) = &self.structured {
            return event.attribute(name);
        }
        self.header(&format!("{PREFIX}{name}"))
            .or_else(|| self.header(&format!("cloudEvents:{name}")))
    }

    fn header(&self, name: &str) -> Option<String> {
        match self.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(value) => Some(value.to_string()),
            AMQPValue::ShortString(value) => Some(value.to_string()),
            AMQPValue::LongLongInt(value) => Some(value.to_string()),
            AMQPValue::LongInt(value) => Some(value.to_string()),
            AMQPValue::LongUInt(value) => Some(value.to_string()),
            AMQPValue::ShortInt(value) => Some(value.to_string()),
            AMQPValue::ShortUInt(value) => Some(value.to_string()),
            AMQPValue::ShortShortInt(value) => Some(value.to_string()),
            AMQPValue::ShortShortUInt(value) => Some(value.to_string()),
            AMQPValue::Timestamp(value) => instant(*value).map(|time| time.to_string()),
            _ => None,
        }
    }

    fn property(&self, get: impl Fn(&BasicProperties) -> &Option<ShortString>) -> Option<String> {
        get(self.properties).as_ref().map(ToString::to_string)
    }
}

/// A timestamp of AMQP 0-9-1, which counts seconds.
fn instant(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

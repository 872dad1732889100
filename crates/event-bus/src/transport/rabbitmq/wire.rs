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
//!
//! The id in CloudEvents is any text that is unique for its source, and that of an envelope is a
//! UUID. One that is a UUID is kept as it is. Of any other, the envelope's id is the UUIDv5 of the
//! source, a NUL and the id, in the namespace `bc5a0bb0-5f2e-4f0c-9d1c-4a0f2f0b8f53`: the same
//! however often the message is delivered, so that it is handled once like any other.
//!
//! What is said against a message repeats nothing of it: attributes may stand in the body, and a
//! publisher may put anything into them.
//!
//! What is stored or compared has to be there as it was sent, so an attribute that is not UTF-8,
//! holds a NUL (which PostgreSQL takes nowhere) or is too long makes the message malformed. What only
//! describes it (time, trace, correlation) is left out if it can't be read.

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;

use super::structured::Structured;
use super::{screen, topology};
use crate::envelope::{Envelope, MAX_KEY_BYTES, MAX_NAME_BYTES, TraceContext};
use crate::message::Kind;
use crate::partition::bucket_of;
use crate::transport::Malformed;

pub(super) const PREFIX: &str = "cloudEvents_";
/// The other prefix that the binding allows.
const OTHER_PREFIX: &str = "cloudEvents:";
const SPEC_VERSION: &str = "1.0";
const PERSISTENT: u8 = 2;
/// What the specification of trace context says should be passed on.
const MAX_TRACESTATE_BYTES: usize = 512;
/// In which ids that are no UUIDs are made into such.
const FOREIGN_IDS: Uuid = Uuid::from_u128(0xbc5a_0bb0_5f2e_4f0c_9d1c_4a0f_2f0b_8f53);

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
    let properties = BasicProperties::default()
        .with_message_id(envelope.id.to_string().into())
        .with_type(envelope.name.as_str().into())
        .with_content_type("application/json".into())
        .with_timestamp(envelope.time.as_second().try_into().unwrap_or(0))
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    // The attribute has room for any source, the property for 255 bytes.
    match ShortString::try_new(envelope.source.as_str()) {
        Ok(source) => properties.with_app_id(source),
        Err(_) => properties,
    }
}

/// Reads a delivery. A message needs an id and a name; the rest has defaults.
pub(super) fn read(delivery: Delivery) -> Result<Envelope, Malformed> {
    let kind = match delivery.exchange.as_str() {
        topology::COMMANDS => Kind::Command,
        topology::QUERIES => Kind::Query,
        _ => Kind::Event,
    };
    let body = Bytes::from(delivery.data);
    envelope(kind, &delivery.properties, &body).map_err(|reason| Malformed { reason, body })
}

/// An envelope, or why there is none.
pub(super) fn envelope(
    kind: Kind,
    properties: &BasicProperties,
    body: &Bytes,
) -> Result<Envelope, String> {
    let content_type = properties.content_type().as_ref();
    let content_type = content_type.map_or("", ShortString::as_str);
    let reader = Reader {
        properties,
        structured: Structured::read(content_type, body)?,
    };
    if let Some(objection) = reader.header(screen::REFUSED)? {
        return Err(objection);
    }
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
    fn envelope(&self, kind: Kind) -> Result<Envelope, String> {
        let other_version = self.attribute("specversion")?.filter(|v| v != SPEC_VERSION);
        if other_version.is_some() {
            return Err(format!("it is not an event of CloudEvents {SPEC_VERSION}"));
        }
        let source = match self.attribute("source")? {
            Some(source) => source,
            None => self
                .property("app id", BasicProperties::app_id)?
                .unwrap_or_default(),
        };
        let id = self.id(&source)?;
        Ok(Envelope {
            id,
            name: self.name()?,
            version: self.version()?,
            kind,
            source,
            time: self.time(),
            partition_key: self.partition_key()?,
            correlation_id: self.uuid("correlationid").unwrap_or(id),
            causation_id: self.uuid("causationid"),
            trace: self.trace(),
            mandatory: false,
            body: Bytes::new(),
        })
    }

    fn id(&self, source: &str) -> Result<Uuid, String> {
        let id = match self.attribute("id")? {
            Some(id) => Some(id),
            None => self.property("message id", BasicProperties::message_id)?,
        };
        let id = id
            .filter(|id| !id.is_empty())
            .ok_or("it has neither `cloudEvents_id` nor a message id")?;
        match Uuid::parse_str(&id) {
            // All messages of a publisher that leaves it so would count as one.
            Ok(uuid) if uuid.is_nil() || uuid.is_max() => {
                Err(format!("its id `{id}` stands for no id"))
            }
            Ok(uuid) => Ok(uuid),
            Err(_) if source.is_empty() => Err(
                "its id is not a UUID, and it names no source that the id is unique for".to_owned(),
            ),
            Err(_) => Ok(Uuid::new_v5(
                &FOREIGN_IDS,
                format!("{source}\0{id}").as_bytes(),
            )),
        }
    }

    fn name(&self) -> Result<String, String> {
        let name = match self.attribute("type")? {
            Some(name) => Some(name),
            None => self.property("type", BasicProperties::kind)?,
        };
        let name = name
            .filter(|name| !name.is_empty())
            .ok_or("it has neither `cloudEvents_type` nor a type")?;
        no_longer_than(MAX_NAME_BYTES, "type", name)
    }

    fn version(&self) -> Result<u32, String> {
        let Some(version) = self.attribute("dataversion")? else {
            return Ok(1);
        };
        let no_number = |_| "its dataversion is not a number".to_owned();
        version.parse().map_err(no_number)
    }

    fn partition_key(&self) -> Result<Option<String>, String> {
        self.attribute("partitionkey")?
            .map(|key| no_longer_than(MAX_KEY_BYTES, "partition key", key))
            .transpose()
    }

    /// What is no trace context is left out, as its specification asks: it would be passed on.
    fn trace(&self) -> TraceContext {
        let either = |name| {
            let header = self.header(name).ok().flatten();
            header.or_else(|| self.attribute(name).ok().flatten())
        };
        let Some(traceparent) = either("traceparent").filter(|text| is_traceparent(text)) else {
            return TraceContext::default();
        };
        let is_passed_on = |text: &String| {
            (1..=MAX_TRACESTATE_BYTES).contains(&text.len())
                && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        TraceContext {
            traceparent: Some(traceparent),
            tracestate: either("tracestate").filter(is_passed_on),
        }
    }

    /// A number is taken for milliseconds since 1970: a timestamp of AMQP 1.0, which the binding
    /// lets a publisher write as well as text.
    fn time(&self) -> Timestamp {
        let attribute = self.attribute("time").ok().flatten();
        let attribute = attribute.and_then(|time| match time.parse() {
            Ok(milliseconds) => Timestamp::from_millisecond(milliseconds).ok(),
            Err(_) => time.parse().ok(),
        });
        let property = || (*self.properties.timestamp()).and_then(instant);
        attribute.or_else(property).unwrap_or_else(Timestamp::now)
    }

    fn uuid(&self, name: &str) -> Option<Uuid> {
        self.attribute(name).ok()??.parse().ok()
    }

    fn attribute(&self, name: &str) -> Result<Option<String>, String> {
        if let Some(event) = &self.structured {
            return Ok(event.attribute(name));
        }
        match self.header(&format!("{PREFIX}{name}"))? {
            Some(value) => Ok(Some(value)),
            None => self.header(&format!("{OTHER_PREFIX}{name}")),
        }
    }

    /// A header's text, or that of its number. Any other type is as good as no header.
    fn header(&self, name: &str) -> Result<Option<String>, String> {
        let headers = self.properties.headers().as_ref();
        let Some(value) = headers.and_then(|headers| headers.inner().get(name)) else {
            return Ok(None);
        };
        let text = match value {
            AMQPValue::LongString(value) => String::from_utf8(value.as_bytes().to_vec())
                .map_err(|_| format!("its header `{name}` is not UTF-8"))?,
            AMQPValue::ShortString(value) => value.to_string(),
            AMQPValue::LongLongInt(value) => value.to_string(),
            AMQPValue::LongInt(value) => value.to_string(),
            AMQPValue::LongUInt(value) => value.to_string(),
            AMQPValue::ShortInt(value) => value.to_string(),
            AMQPValue::ShortUInt(value) => value.to_string(),
            AMQPValue::ShortShortInt(value) => value.to_string(),
            AMQPValue::ShortShortUInt(value) => value.to_string(),
            AMQPValue::Timestamp(value) => match instant(*value) {
                Some(time) => time.to_string(),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        without_nul(&format!("header `{name}`"), text).map(Some)
    }

    fn property(
        &self,
        what: &str,
        get: impl Fn(&BasicProperties) -> &Option<ShortString>,
    ) -> Result<Option<String>, String> {
        let text = get(self.properties).as_ref().map(ToString::to_string);
        text.map(|text| without_nul(what, text)).transpose()
    }
}

/// A timestamp of AMQP 0-9-1, which counts seconds.
fn instant(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// The form that every version of the specification so far has.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return false;
    };
    [version.len(), trace.len(), parent.len(), flags.len()] == [2, 32, 16, 2]
        && parts.iter().all(|part| is_hex(part))
        && version != "ff"
        && [trace, parent]
            .iter()
            .all(|id| id.bytes().any(|b| b != b'0'))
}

fn without_nul(what: &str, text: String) -> Result<String, String> {
    if text.contains('\0') {
        return Err(format!("its {what} holds a NUL"));
    }
    Ok(text)
}

fn no_longer_than(most: usize, what: &str, text: String) -> Result<String, String> {
    if text.len() > most {
        let length = text.len();
        return Err(format!(
            "its {what} is {length} bytes, more than the {most} that are taken"
        ));
    }
    Ok(text)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests;

//! The properties and the body of a message: what is read as an envelope can be written, to the
//! wire and to a table, and is the same when it is read again.
#![no_main]

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::BasicProperties;
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use bytes::Bytes;
use event_bus::transport::fuzzing::{read, screened, write};
use event_bus::{Envelope, Kind};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 14] = [
    "cloudEvents_specversion",
    "cloudEvents_id",
    "cloudEvents_type",
    "cloudEvents_source",
    "cloudEvents_time",
    "cloudEvents_dataversion",
    "cloudEvents_partitionkey",
    "cloudEvents_correlationid",
    "cloudEvents_causationid",
    "cloudEvents_traceparent",
    "cloudEvents:id",
    "traceparent",
    "tracestate",
    "event-bus-refused",
];

/// What an event in structured mode has.
const MEMBERS: [&str; 10] = [
    "specversion",
    "id",
    "type",
    "source",
    "time",
    "dataversion",
    "partitionkey",
    "traceparent",
    "data",
    "data_base64",
];

/// Of each kind that something is read from, one that can be.
const TEXTS: [&str; 10] = [
    "1.0",
    "7",
    "0af76519-16cd-743d-8448-eb211c80319c",
    "shop.order.placed",
    "2026-01-02T03:04:05.678901234Z",
    "-009999-01-02T01:59:59Z",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "vendor=value",
    "application/json",
    "application/cloudevents+json",
];

#[derive(Debug, Arbitrary)]
enum Published {
    /// Properties as bytes.
    Raw { properties: Vec<u8>, body: Vec<u8> },
    /// Properties as a client makes them.
    Made {
        headers: Vec<(Name, Value)>,
        content_type: Option<Text>,
        message_id: Option<Text>,
        name: Option<Text>,
        app_id: Option<Text>,
        timestamp: Option<u64>,
        body: Body,
    },
}

#[derive(Debug, Arbitrary)]
enum Body {
    Bytes(Vec<u8>),
    Structured(Vec<(u8, Member)>),
}

#[derive(Debug, Arbitrary)]
enum Member {
    Text(Text),
    Number(i64),
    Flag(bool),
    Json(String),
}

#[derive(Debug, Arbitrary)]
enum Name {
    Known(u8),
    Free(String),
}

#[derive(Debug, Arbitrary)]
enum Text {
    Known(u8),
    Free(String),
    Long(u16, char),
}

#[derive(Debug, Arbitrary)]
enum Value {
    Text(Text),
    Bytes(Vec<u8>),
    Number(i64),
    Timestamp(u64),
    Flag(bool),
    Nothing,
}

impl Text {
    fn get(self) -> String {
        match self {
            Self::Known(index) => TEXTS[usize::from(index) % TEXTS.len()].to_owned(),
            Self::Free(text) => text,
            Self::Long(count, of) => of.to_string().repeat(usize::from(count % 2000)),
        }
    }

    fn short(self) -> ShortString {
        ShortString::try_new(self.get()).unwrap_or_default()
    }
}

impl Name {
    fn get(self) -> ShortString {
        match self {
            Self::Known(index) => NAMES[usize::from(index) % NAMES.len()].into(),
            Self::Free(text) => ShortString::try_new(text).unwrap_or_default(),
        }
    }
}

impl Value {
    fn get(self) -> AMQPValue {
        match self {
            Self::Text(text) => AMQPValue::LongString(text.get().into()),
            Self::Bytes(bytes) => AMQPValue::LongString(bytes.into()),
            Self::Number(number) => AMQPValue::LongLongInt(number),
            Self::Timestamp(seconds) => AMQPValue::Timestamp(seconds),
            Self::Flag(flag) => AMQPValue::Boolean(flag),
            Self::Nothing => AMQPValue::Void,
        }
    }
}

impl Body {
    fn get(self) -> Vec<u8> {
        let members = match self {
            Self::Bytes(bytes) => return bytes,
            Self::Structured(members) => members,
        };
        let members = members.into_iter().map(|(index, member)| {
            let name = MEMBERS[usize::from(index) % MEMBERS.len()];
            let value = match member {
                Member::Text(text) => serde_json::Value::from(text.get()).to_string(),
                Member::Number(number) => number.to_string(),
                Member::Flag(flag) => flag.to_string(),
                Member::Json(json) => json,
            };
            format!("\"{name}\":{value}")
        });
        let members: Vec<_> = members.collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    }
}

impl Published {
    /// The properties on the wire, and the body.
    fn on_the_wire(self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Raw { properties, body } => {
                let size = u32::try_from(12 + properties.len()).expect("a short input");
                let head = [&[2, 0, 1][..], &size.to_be_bytes(), &[0, 60], &[0; 10]];
                let frame = [&head.concat()[..], &properties, &[0xCE]].concat();
                (frame, body)
            }
            Self::Made {
                headers,
                content_type,
                message_id,
                name,
                app_id,
                timestamp,
                body,
            } => {
                let mut table = FieldTable::default();
                for (name, value) in headers {
                    table.insert(name.get(), value.get());
                }
                let mut made = BasicProperties::default().with_headers(table);
                for (text, set) in [
                    (content_type, BasicProperties::with_content_type as Set),
                    (message_id, BasicProperties::with_message_id),
                    (name, BasicProperties::with_type),
                    (app_id, BasicProperties::with_app_id),
                ] {
                    if let Some(text) = text {
                        made = set(made, text.short());
                    }
                }
                if let Some(timestamp) = timestamp {
                    made = made.with_timestamp(timestamp);
                }
                (header_frame(made), body.get())
            }
        }
    }
}

type Set = fn(BasicProperties, ShortString) -> BasicProperties;

fn header_frame(properties: BasicProperties) -> Vec<u8> {
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: 0,
        properties,
    };
    let frame = AMQPFrame::Header(1, header);
    let written = gen_frame(&frame)(WriteContext::from(Vec::new()));
    written.expect("memory suffices").into_inner().0
}

/// What the client makes of a header frame behind the screen.
fn parsed(frame: &[u8]) -> BasicProperties {
    match parse_frame(&screened(frame, &[])[..]) {
        Ok((_, AMQPFrame::Header(_, header))) => header.properties,
        other => panic!("it is no header frame any more: {other:?}"),
    }
}

fuzz_target!(|input: (bool, Published)| {
    let (is_command, published) = input;
    let kind = if is_command {
        Kind::Command
    } else {
        Kind::Event
    };
    let (frame, body) = published.on_the_wire();
    let body = Bytes::from(body);
    let Ok(envelope) = read(kind, &parsed(&frame), &body) else {
        return;
    };

    let frame = header_frame(write(&envelope));
    assert_eq!(
        screened(&frame, &[]),
        frame,
        "what the bus writes is not screened"
    );
    let again = read(kind, &parsed(&frame), &envelope.body);
    assert_eq!(again.as_ref(), Ok(&envelope), "over the wire");

    let json = serde_json::to_string(&envelope).expect("attributes are JSON");
    let stored: Envelope = serde_json::from_str(&json).expect("and are read from it");
    let body = envelope.body.clone();
    assert_eq!(Envelope { body, ..stored }, envelope, "through a table");
});

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 12] = [
    "cloudEvents_id",
    "cloudEvents_type",
    "cloudEvents_source",
    "cloudEvents_time",
    "cloudEvents_dataversion",
    "cloudEvents_partitionkey",
    "cloudEvents_correlationid",
    "cloudEvents_causationid",
    "cloudEvents:source",
    "traceparent",
    "tracestate",
    "event-bus-refused",
];

/// Texts of which some are what is asked for.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z.]{1,20}",
        "[0-9]{1,12}",
        any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string()),
        "-?[0-9]{4,6}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?Z",
        "0[0-9a-f]-[0-9a-f]{32}-[0-9a-f]{16}-0[01]",
        ".{250,1100}",
    ]
}

fn value() -> impl Strategy<Value = AMQPValue> {
    prop_oneof![
        8 => text().prop_map(|text| AMQPValue::LongString(text.into())),
        1 => any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        1 => any::<i64>().prop_map(AMQPValue::LongLongInt),
        1 => any::<u16>().prop_map(AMQPValue::ShortUInt),
        1 => any::<u64>().prop_map(AMQPValue::Timestamp),
        1 => Just(AMQPValue::FieldTable(FieldTable::default())),
    ]
}

fn headers() -> impl Strategy<Value = FieldTable> {
    let name = prop_oneof![
        9 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned),
        1 => "[a-z]{0,10}",
    ];
    prop::collection::btree_map(name.prop_map(ShortString::from), value(), 0..10)
        .prop_map(FieldTable::from)
}

fn short() -> impl Strategy<Value = Option<ShortString>> {
    prop::option::of(text().prop_filter_map("short", |text| ShortString::try_new(text).ok()))
}

fn any_properties() -> impl Strategy<Value = BasicProperties> {
    let timestamp = prop::option::of(any::<u64>());
    (headers(), short(), short(), short(), timestamp).prop_map(
        |(headers, id, name, source, timestamp)| {
            let mut properties = BasicProperties::default().with_headers(headers);
            properties = match id {
                Some(id) => properties.with_message_id(id),
                None => properties,
            };
            properties = match name {
                Some(name) => properties.with_type(name),
                None => properties,
            };
            properties = match source {
                Some(source) => properties.with_app_id(source),
                None => properties,
            };
            match timestamp {
                Some(timestamp) => properties.with_timestamp(timestamp),
                None => properties,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_read_can_be_written_and_is_the_same_when_it_is_read_again(
        properties in any_properties(),
        kind in prop_oneof![Just(Kind::Event), Just(Kind::Command)],
        body in any::<Vec<u8>>(),
    ) {
        let body = Bytes::from(body);
        if let Ok(read) = envelope(kind, &properties, &body) {
            let again = envelope(kind, &super::properties(&read), &body);
            prop_assert_eq!(again.as_ref(), Ok(&read));
            let json = serde_json::to_value(&read).expect("it is JSON");
            let stored: Envelope = serde_json::from_value(json).expect("it is an envelope");
            prop_assert_eq!(Envelope { body, ..stored }, read);
        }
    }
}

#[test]
fn an_id_that_is_no_uuid_is_made_into_one_by_its_source() {
    let read = |source: &str, id: &str| {
        let properties = BasicProperties::default()
            .with_type("a.b".into())
            .with_app_id(source.into())
            .with_message_id(id.into());
        envelope(Kind::Event, &properties, &Bytes::new()).map(|envelope| envelope.id)
    };
    let published = Uuid::from_u128(7);
    assert_eq!(read("till", &published.to_string()), Ok(published));
    // As any other implementation would: sha1(namespace ++ "till\0" ++ "42"), marked as version 5.
    let expected = Uuid::parse_str("36d05bd5-3148-5735-a854-db1907c7e879").expect("a UUID");
    assert_eq!(read("till", "42"), Ok(expected));
    assert_ne!(read("till", "43"), Ok(expected));
    assert_ne!(read("tills", "42"), Ok(expected));
    assert!(read("", "42").is_err());
}

//! Every version of every message, as it travels.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use event_bus::{
    EntityCreatedEto, EntityDeletedEto, EntityEto as _, EntityUpdatedEto, Envelope,
    GetSnapshotPage, Lineage, Message, Request, SnapshotPage, TraceContext,
};
use event_contracts::catalog::{
    ProductEto, ProductPriceChangedEto, ReleaseStock, StockRejectedEto, StockRejection,
    StockReservedEto,
};
use event_contracts::identity::UserEto;
use event_contracts::ordering::{
    OrderCancelledEto, OrderConfirmedEto, OrderDiscountedEto, OrderPlacedEto, OrderRejectedEto,
};
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

const ORDER: Uuid = uuid!("01930f6e-8c00-7000-8000-000000000001");
const PRODUCT: Uuid = uuid!("5995897b-1de9-7272-b31c-3a165bbe7b18");
const CUSTOMER: Uuid = uuid!("01930f6e-8c00-7000-8000-000000000002");

/// The message is written exactly as its golden file says and as its schema allows, the file reads
/// as the message, and so do those of older versions.
fn check<M: Message + PartialEq + Debug>(message: &M) {
    let path = golden_file::<M>(M::VERSION);
    let written = serde_json::to_value(message).expect("a message is JSON");
    update(&path, &written);
    let schema = schema_of::<M>();
    if let Err(error) = jsonschema::validate(&schema, &written) {
        panic!("{} is not what its schema says: {error}", M::NAME);
    }
    for version in 1..=M::VERSION {
        let path = golden_file::<M>(version);
        let golden = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display())
        });
        if version == M::VERSION {
            let golden: Value = serde_json::from_slice(&golden).expect("a golden file is JSON");
            assert_eq!(written, golden, "{} is written differently now", M::NAME);
        }
        let read: M = arrived(message, version, golden)
            .decode()
            .unwrap_or_else(|error| panic!("{} can't be read: {error:?}", path.display()));
        assert_eq!(&read, message);
    }
}

/// A query and the answer to it are written exactly as their golden files say, and read so.
fn check_query<Q>(query: &Q, answer: &Q::Answer)
where
    Q: Request<Answer: PartialEq + Debug> + PartialEq + Debug,
{
    check_shape(&golden_file::<Q>(Q::VERSION), query);
    let path = golden_file::<Q>(Q::VERSION).with_extension("answer.json");
    check_shape(&path, answer);
}

fn check_shape<T: Serialize + DeserializeOwned + PartialEq + Debug>(path: &Path, value: &T) {
    let written = serde_json::to_value(value).expect("it is JSON");
    update(path, &written);
    let golden = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    let golden_value: Value = serde_json::from_str(&golden).expect("a golden file is JSON");
    assert_eq!(written, golden_value, "{} has changed", path.display());
    let read: T = serde_json::from_str(&golden)
        .unwrap_or_else(|error| panic!("{} can't be read any more: {error}", path.display()));
    assert_eq!(&read, value);
}

/// Writes a golden file anew, if that was asked for.
fn update(path: &Path, written: &Value) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let pretty = serde_json::to_string_pretty(written).expect("a value is JSON");
        std::fs::write(path, pretty + "\n").expect("golden/ can be written");
    }
}

/// The schema of a message, with nothing outside of it.
fn schema_of<M: Message>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema = M::schema(&mut settings.into_generator());
    let schema = schema.unwrap_or_else(|| panic!("{} has no schema", M::NAME));
    assert_eq!(schema.get("type"), Some(&json!("object")), "{}", M::NAME);
    schema.to_value()
}

fn golden_file<M: Message>(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("{}.v{version}.json", M::NAME))
}

/// A message like this one as it arrives, in some version and with some body.
fn arrived<M: Message>(like: &M, version: u32, body: Vec<u8>) -> Envelope {
    let lineage = Lineage {
        correlation_id: Uuid::nil(),
        causation_id: None,
        trace: TraceContext::default(),
    };
    Envelope {
        version,
        body: body.into(),
        ..Envelope::encode("tests", lineage, like).expect("a message is JSON")
    }
}

fn product() -> ProductEto {
    ProductEto {
        id: PRODUCT,
        name: "Product A".to_owned(),
        description: Some("A product".to_owned()),
        price: "19.90".parse().expect("a decimal"),
        release_date: Some(jiff::civil::date(2024, 11, 1)),
        version: 3,
    }
}

fn user() -> UserEto {
    UserEto {
        id: CUSTOMER,
        user_name: "alice".to_owned(),
        name: Some("Alice".to_owned()),
        surname: Some("Arden".to_owned()),
        email: "alice@example.com".to_owned(),
        phone_number: Some("+44 20 7946 0018".to_owned()),
        is_active: true,
        roles: vec!["customer".to_owned()],
        version: 2,
    }
}

#[test]
fn catalog_messages_keep_their_shape() {
    check(&EntityCreatedEto { entity: product() });
    check(&EntityUpdatedEto { entity: product() });
    check(&EntityDeletedEto { entity: product() });
    check(&ProductPriceChangedEto {
        product_id: PRODUCT,
        old_price: "19.90".parse().expect("a decimal"),
        new_price: "14.90".parse().expect("a decimal"),
    });
    check(&StockReservedEto {
        order_id: ORDER,
        product_id: PRODUCT,
        quantity: 2,
    });
    check(&StockRejectedEto {
        order_id: ORDER,
        product_id: PRODUCT,
        quantity: 2,
        reason: StockRejection::OutOfStock,
    });
    check(&ReleaseStock { order_id: ORDER });
    let page = SnapshotPage {
        version: ProductEto::VERSION,
        entities: vec![product()],
        next: Some(PRODUCT),
    };
    check_query(&GetSnapshotPage::after(Some(PRODUCT)), &page);
}

#[test]
fn ordering_messages_keep_their_shape() {
    check(&OrderPlacedEto {
        order_id: ORDER,
        customer_name: "David".to_owned(),
        customer_id: Some(CUSTOMER),
        product_id: PRODUCT,
        quantity: 2,
    });
    check(&OrderConfirmedEto {
        order_id: ORDER,
        customer_id: Some(CUSTOMER),
        product_id: PRODUCT,
        quantity: 2,
        total: "39.80".parse().expect("a decimal"),
    });
    check(&OrderRejectedEto {
        order_id: ORDER,
        customer_id: Some(CUSTOMER),
        product_id: PRODUCT,
        quantity: 2,
        reason: "out_of_stock".to_owned(),
    });
    check(&OrderCancelledEto {
        order_id: ORDER,
        customer_id: Some(CUSTOMER),
        product_id: PRODUCT,
        quantity: 2,
        reason: "requested".to_owned(),
    });
    check(&OrderDiscountedEto {
        order_id: ORDER,
        customer_id: Some(CUSTOMER),
        product_id: PRODUCT,
        discount: "10.00".parse().expect("a decimal"),
        total: "29.80".parse().expect("a decimal"),
    });
}

#[test]
fn identity_messages_keep_their_shape() {
    check(&EntityCreatedEto { entity: user() });
    check(&EntityUpdatedEto { entity: user() });
    check(&EntityDeletedEto { entity: user() });
    let page = SnapshotPage {
        version: UserEto::VERSION,
        entities: vec![user()],
        next: None,
    };
    check_query(&GetSnapshotPage::after(None), &page);
}

#[test]
fn a_field_of_a_newer_publisher_is_ignored() {
    let newer = format!(r#"{{"orderId":"{ORDER}","urgency":"high"}}"#);
    let command: ReleaseStock = serde_json::from_str(&newer).expect("unknown fields are ignored");
    assert_eq!(command, ReleaseStock { order_id: ORDER });
}

#[test]
fn somebody_who_gave_no_name_is_called_by_their_user_name() {
    let nameless = UserEto {
        name: None,
        surname: None,
        ..user()
    };
    assert_eq!(nameless.display_name(), "alice");
    assert_eq!(user().display_name(), "Alice Arden");
}

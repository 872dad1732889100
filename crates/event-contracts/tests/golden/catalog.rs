use event_bus::{
    EntityCreatedEto, EntityDeletedEto, EntityEto as _, EntityUpdatedEto, GetSnapshotPage,
    SnapshotPage,
};
use event_contracts::catalog::{
    ProductEto, ProductPriceChangedEto, ReleaseStock, StockRejectedEto, StockRejection,
    StockReservedEto,
};

use crate::shape::{check, check_request};
use crate::{ORDER, PRODUCT};

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
    check_request(&GetSnapshotPage::after(Some(PRODUCT)), &page);
}

#[test]
fn a_field_of_a_newer_publisher_is_ignored() {
    let newer = format!(r#"{{"orderId":"{ORDER}","urgency":"high"}}"#);
    let command: ReleaseStock = serde_json::from_str(&newer).expect("unknown fields are ignored");
    assert_eq!(command, ReleaseStock { order_id: ORDER });
}

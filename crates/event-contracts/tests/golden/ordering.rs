use event_contracts::ordering::{
    OrderCancelledEto, OrderConfirmedEto, OrderDiscountedEto, OrderPlacedEto, OrderRejectedEto,
};

use crate::shape::check;
use crate::{CUSTOMER, ORDER, PRODUCT};

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

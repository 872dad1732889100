//! An order.

use jiff::{Timestamp, Unit};

use super::{CustomerName, OrderState, Quantity, Reason};
use crate::ids::{CustomerId, OrderId, ProductId};
use crate::money::Money;
use crate::products::Product;

/// An order, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Identifies it.
    pub id: OrderId,
    /// The name it was placed under, or what the customer is called now.
    pub customer_name: CustomerName,
    /// Who ordered, if they were signed in.
    pub customer_id: Option<CustomerId>,
    /// What was ordered.
    pub product_id: ProductId,
    /// What the product was called when the order was placed.
    pub product_name: String,
    /// How many.
    pub quantity: Quantity,
    /// What one cost when the order was placed.
    pub unit_price: Money,
    /// What the whole order is reduced by.
    pub discount: Money,
    /// Where it stands.
    pub state: OrderState,
    /// Why it was rejected or cancelled.
    pub reason: Option<Reason>,
    /// Rises with every change.
    pub version: i64,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// An order to be placed: what the customer says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The name to place it under.
    pub customer_name: CustomerName,
    /// Who orders, if they are signed in.
    pub customer_id: Option<CustomerId>,
    /// What is ordered.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
}

impl Order {
    /// Places an order for the product, at its present price.
    pub fn place(draft: Draft, product: &Product) -> Self {
        let now = Timestamp::now();
        // The database keeps microseconds, and an order is to look the same before and after.
        let now = now.round(Unit::Microsecond).unwrap_or(now);
        Self {
            id: OrderId::next(),
            customer_name: draft.customer_name,
            customer_id: draft.customer_id,
            product_id: product.id,
            product_name: product.name.clone(),
            quantity: draft.quantity,
            unit_price: product.price,
            discount: Money::ZERO,
            state: OrderState::Placed,
            reason: None,
            version: 1,
            placed_at: now,
            updated_at: now,
        }
    }

    /// What the order costs altogether, after discount.
    pub fn total(&self) -> Money {
        self.unit_price.times(self.quantity).less(self.discount)
    }

    /// The discount by which the order costs as much as if it were placed at this price, or `None`
    /// if it is not dearer than that already, or is over.
    pub fn discount_for(&self, price: Money) -> Option<Money> {
        let discount = self.unit_price.less(price).times(self.quantity);
        (self.state.is_open() && discount > self.discount).then_some(discount)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use rust_decimal::Decimal;

    use super::*;

    fn money(cents: i64) -> Money {
        Money::price(Decimal::new(cents, 2)).unwrap()
    }

    fn order(unit_price: i64, quantity: i64) -> Order {
        let product = Product {
            id: ProductId(uuid::Uuid::now_v7()),
            name: "Lamp".to_owned(),
            price: money(unit_price),
            version: 1,
            deleted: false,
        };
        let draft = Draft {
            customer_name: CustomerName::parse("David").unwrap(),
            customer_id: None,
            product_id: product.id,
            quantity: Quantity::new(quantity).unwrap(),
        };
        Order::place(draft, &product)
    }

    proptest! {
        #[test]
        fn an_order_ends_at_the_lowest_price_it_has_seen(
            first in 0i64..10_000_000,
            later in prop::collection::vec(0i64..10_000_000, 0..8),
            quantity in 1i64..=999,
        ) {
            let mut order = order(first, quantity);
            for price in &later {
                let before = order.total();
                if let Some(discount) = order.discount_for(money(*price)) {
                    prop_assert!(discount > order.discount);
                    order.discount = discount;
                }
                prop_assert!(order.total() <= before, "a new price never makes an order dearer");
            }
            let lowest = later.iter().copied().chain([first]).min().unwrap();
            prop_assert_eq!(order.total(), money(lowest).times(order.quantity));
        }

        #[test]
        fn the_same_price_again_changes_nothing(
            first in 0i64..10_000_000,
            price in 0i64..10_000_000,
            quantity in 1i64..=999,
        ) {
            let mut order = order(first, quantity);
            if let Some(discount) = order.discount_for(money(price)) {
                order.discount = discount;
            }
            prop_assert_eq!(order.discount_for(money(price)), None);
        }

        #[test]
        fn an_order_that_is_over_keeps_its_price(
            state in select(vec![OrderState::Rejected, OrderState::Cancelled]),
            price in 0i64..1_000,
        ) {
            let mut order = order(1_000, 3);
            order.state = state;
            prop_assert_eq!(order.discount_for(money(price)), None);
        }
    }
}

//! What giving back the stock of orders comes to.

use std::collections::{BTreeMap, BTreeSet};

use super::reservation::{Held, OrderId, ReservationState};
use crate::products::ProductId;

/// What has to be done so that these orders hold no stock and never will.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Orders whose reservations end now.
    pub released: Vec<OrderId>,
    /// What they held, altogether.
    pub given_back: BTreeMap<ProductId, i64>,
    /// Orders that nothing was decided about yet, and nothing will be.
    pub unheard_of: Vec<OrderId>,
}

impl Release {
    /// Of these orders, given what was decided about them before.
    pub fn of(
        orders: &BTreeSet<OrderId>,
        settled: &BTreeMap<OrderId, (ReservationState, Option<Held>)>,
    ) -> Self {
        let mut release = Self::default();
        for order in orders {
            match settled.get(order) {
                None => release.unheard_of.push(*order),
                Some((ReservationState::Reserved, Some(held))) => {
                    release.released.push(*order);
                    *release.given_back.entry(held.product).or_default() += held.quantity;
                }
                // What was refused or released before holds nothing.
                Some(_) => {}
            }
        }
        release
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const TEA: ProductId = ProductId(Uuid::from_u128(1));

    fn order(number: u128) -> OrderId {
        OrderId(Uuid::from_u128(number))
    }

    fn held(quantity: i64) -> Option<Held> {
        Some(Held {
            product: TEA,
            quantity,
        })
    }

    #[test]
    fn only_open_reservations_give_stock_back() {
        let settled = BTreeMap::from([
            (order(1), (ReservationState::Reserved, held(2))),
            (order(2), (ReservationState::Reserved, held(3))),
            (order(3), (ReservationState::OutOfStock, held(4))),
            (order(4), (ReservationState::Released, held(5))),
            (order(5), (ReservationState::Released, None)),
        ]);
        let orders = (1..=6).map(order).collect();
        assert_eq!(
            Release::of(&orders, &settled),
            Release {
                released: vec![order(1), order(2)],
                given_back: BTreeMap::from([(TEA, 5)]),
                unheard_of: vec![order(6)],
            }
        );
    }
}

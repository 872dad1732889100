//! Who gets stock, when there may not be enough for all.

use std::collections::{BTreeMap, HashMap};

use super::reservation::{OrderId, ReservationState, StockRequest};
use crate::products::ProductId;

/// Decides about requests one after the other: first come, first served.
///
/// A request that can't be met in full gets nothing and takes nothing, so a smaller one behind it
/// may still be met. It knows what was decided before, and decides about no order twice.
#[derive(Debug)]
pub struct Allocation {
    free: BTreeMap<ProductId, i32>,
    taken: BTreeMap<ProductId, i32>,
    settled: HashMap<OrderId, ReservationState>,
    decisions: Vec<(StockRequest, ReservationState)>,
}

impl Allocation {
    /// Begins with the stock of every product that exists among those asked for, and with what
    /// was decided before about the orders that ask.
    pub fn new(
        free: impl IntoIterator<Item = (ProductId, i32)>,
        settled: impl IntoIterator<Item = (OrderId, ReservationState)>,
    ) -> Self {
        Self {
            free: free.into_iter().collect(),
            taken: BTreeMap::new(),
            settled: settled.into_iter().collect(),
            decisions: Vec::new(),
        }
    }

    /// Decides about the next request, or says what was decided when the order asked before.
    pub fn decide(&mut self, request: StockRequest) -> ReservationState {
        if let Some(&settled) = self.settled.get(&request.order) {
            return settled;
        }
        let state = self.take(request);
        self.settled.insert(request.order, state);
        self.decisions.push((request, state));
        state
    }

    /// How much was taken of each product: nothing is not listed.
    pub fn taken(&self) -> &BTreeMap<ProductId, i32> {
        &self.taken
    }

    /// What was decided here and not before, in the order of the requests.
    pub fn decisions(&self) -> &[(StockRequest, ReservationState)] {
        &self.decisions
    }

    fn take(&mut self, request: StockRequest) -> ReservationState {
        let Some(free) = self.free.get_mut(&request.product) else {
            return ReservationState::UnknownProduct;
        };
        let quantity = i32::try_from(request.quantity.get());
        let Some(quantity) = quantity.ok().filter(|quantity| *quantity <= *free) else {
            return ReservationState::OutOfStock;
        };
        *free -= quantity;
        *self.taken.entry(request.product).or_default() += quantity;
        ReservationState::Reserved
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::ReservationState::{OutOfStock, Released, Reserved, UnknownProduct};
    use super::*;

    const TEA: ProductId = ProductId(Uuid::from_u128(1));
    const COFFEE: ProductId = ProductId(Uuid::from_u128(2));

    fn request(order: u128, product: ProductId, quantity: u32) -> StockRequest {
        StockRequest {
            order: OrderId(Uuid::from_u128(order)),
            product,
            quantity: NonZeroU32::new(quantity).unwrap(),
        }
    }

    #[test]
    fn a_refused_order_does_not_stop_a_smaller_one_behind_it() {
        let mut allocation = Allocation::new([(TEA, 5)], []);
        assert_eq!(allocation.decide(request(1, TEA, 4)), Reserved);
        assert_eq!(allocation.decide(request(2, TEA, 2)), OutOfStock);
        assert_eq!(allocation.decide(request(3, TEA, 1)), Reserved);
        assert_eq!(allocation.taken(), &BTreeMap::from([(TEA, 5)]));
    }

    #[test]
    fn a_product_that_does_not_exist_is_told_apart_from_an_empty_shelf() {
        let mut allocation = Allocation::new([(TEA, 0)], []);
        assert_eq!(allocation.decide(request(1, TEA, 1)), OutOfStock);
        assert_eq!(allocation.decide(request(2, COFFEE, 1)), UnknownProduct);
        assert!(allocation.taken().is_empty());
    }

    #[test]
    fn a_quantity_beyond_any_stock_is_out_of_stock() {
        let mut allocation = Allocation::new([(TEA, 999_999)], []);
        assert_eq!(allocation.decide(request(1, TEA, u32::MAX)), OutOfStock);
    }

    #[test]
    fn an_order_that_asks_again_gets_its_answer_and_no_more_stock() {
        let earlier = [
            (OrderId(Uuid::from_u128(1)), OutOfStock),
            (OrderId(Uuid::from_u128(2)), Released),
        ];
        let mut allocation = Allocation::new([(TEA, 5)], earlier);
        assert_eq!(allocation.decide(request(1, TEA, 1)), OutOfStock);
        assert_eq!(allocation.decide(request(2, TEA, 1)), Released);
        assert_eq!(allocation.decide(request(3, TEA, 2)), Reserved);
        assert_eq!(allocation.decide(request(3, TEA, 2)), Reserved);
        assert_eq!(allocation.taken(), &BTreeMap::from([(TEA, 2)]));
        assert_eq!(allocation.decisions(), [(request(3, TEA, 2), Reserved)]);
    }

    prop_compose! {
        fn any_request()(
            order in 0_u128..40,
            product in 0_u128..4,
            quantity in 1_u32..8,
        ) -> StockRequest {
            request(order, ProductId(Uuid::from_u128(product)), quantity)
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_is_reserved_and_never_more_than_there_was(
            stock in prop::collection::btree_map(0_u128..3, 0_i32..20, 0..3),
            requests in prop::collection::vec(any_request(), 0..60),
        ) {
            let stock: BTreeMap<_, _> = stock
                .into_iter()
                .map(|(id, count)| (ProductId(Uuid::from_u128(id)), count))
                .collect();
            let mut allocation = Allocation::new(stock.clone(), []);
            for &request in &requests {
                allocation.decide(request);
            }

            let mut reserved = BTreeMap::new();
            for (request, state) in allocation.decisions() {
                if *state == Reserved {
                    let quantity = i32::try_from(request.quantity.get()).unwrap();
                    *reserved.entry(request.product).or_insert(0) += quantity;
                }
            }
            prop_assert_eq!(allocation.taken(), &reserved);
            for (product, taken) in allocation.taken() {
                prop_assert!(taken <= &stock[product]);
            }
        }

        #[test]
        fn an_order_is_refused_only_if_the_rest_was_too_small_when_it_came(
            count in 0_i32..30,
            requests in prop::collection::vec(any_request(), 0..60),
        ) {
            let mut rest = count;
            let mut allocation = Allocation::new([(TEA, count)], []);
            for request in requests.into_iter().filter(|request| request.product == TEA) {
                let known = allocation.decisions().len();
                let state = allocation.decide(request);
                if allocation.decisions().len() == known {
                    continue;
                }
                let quantity = i32::try_from(request.quantity.get()).unwrap();
                prop_assert_eq!(state == Reserved, quantity <= rest);
                if state == Reserved {
                    rest -= quantity;
                }
            }
        }

        #[test]
        fn each_order_is_decided_once_and_always_answered_the_same(
            count in 0_i32..30,
            requests in prop::collection::vec(any_request(), 0..60),
        ) {
            let mut allocation = Allocation::new([(TEA, count)], []);
            let mut answers = HashMap::new();
            for request in requests {
                let state = allocation.decide(request);
                let first = *answers.entry(request.order).or_insert(state);
                prop_assert_eq!(state, first);
            }
            prop_assert_eq!(allocation.decisions().len(), answers.len());
        }
    }
}

//! The states of an order, and what leads from one to another.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum OrderState {
    /// Taken, and waiting for what catalog says about the stock.
    Placed,
    /// Its stock is reserved.
    Confirmed,
    /// It gets no stock. Final.
    Rejected,
    /// Called off, by a person or because no answer came in time. Final.
    Cancelled,
}

/// What may change the state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// Catalog has reserved the stock.
    StockReserved,
    /// Catalog can't reserve the stock.
    StockRejected,
    /// Somebody who may do so calls the order off.
    CancelRequested,
    /// The time within which catalog should have answered is over.
    ConfirmationOverdue,
}

impl OrderState {
    /// All states.
    pub const ALL: [Self; 4] = [
        Self::Placed,
        Self::Confirmed,
        Self::Rejected,
        Self::Cancelled,
    ];

    /// The word for it, in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that follows, or `None` if nothing happens to an order in this one.
    ///
    /// Every pair is written out, so that a new state or trigger does not compile until somebody
    /// has decided about each.
    #[must_use]
    pub fn after(self, trigger: Trigger) -> Option<Self> {
        use {OrderState as S, Trigger as T};
        match (self, trigger) {
            (S::Placed, T::StockReserved) => Some(S::Confirmed),
            (S::Placed, T::StockRejected) => Some(S::Rejected),
            (S::Placed | S::Confirmed, T::CancelRequested)
            | (S::Placed, T::ConfirmationOverdue) => Some(S::Cancelled),
            (S::Confirmed, T::StockReserved | T::StockRejected | T::ConfirmationOverdue)
            | (
                S::Rejected | S::Cancelled,
                T::StockReserved | T::StockRejected | T::CancelRequested | T::ConfirmationOverdue,
            ) => None,
        }
    }

    /// Whether the order is still under way: it follows the price of its product downwards and
    /// the name of its customer.
    #[must_use]
    pub fn is_open(self) -> bool {
        match self {
            Self::Placed | Self::Confirmed => true,
            Self::Rejected | Self::Cancelled => false,
        }
    }

    /// The states for which [`is_open`](Self::is_open) holds.
    pub fn open() -> Vec<Self> {
        let states = Self::ALL.into_iter();
        states.filter(|state| state.is_open()).collect()
    }
}

/// Why an order was rejected or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Reason {
    /// Rejected: there are fewer than were ordered.
    OutOfStock,
    /// Rejected: catalog has no such product any more.
    UnknownProduct,
    /// Cancelled: somebody wanted it.
    Requested,
    /// Cancelled: catalog did not answer in time.
    ConfirmationTimeout,
}

impl Reason {
    /// The word under which others know it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfStock => "out_of_stock",
            Self::UnknownProduct => "unknown_product",
            Self::Requested => "requested",
            Self::ConfirmationTimeout => "confirmation_timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const TRIGGERS: [Trigger; 4] = [
        Trigger::StockReserved,
        Trigger::StockRejected,
        Trigger::CancelRequested,
        Trigger::ConfirmationOverdue,
    ];

    #[test]
    fn every_pair_leads_where_the_table_says() {
        use OrderState::{Cancelled, Confirmed, Placed, Rejected};
        let table = [
            (
                Placed,
                [
                    Some(Confirmed),
                    Some(Rejected),
                    Some(Cancelled),
                    Some(Cancelled),
                ],
            ),
            (Confirmed, [None, None, Some(Cancelled), None]),
            (Rejected, [None; 4]),
            (Cancelled, [None; 4]),
        ];
        for (state, expected) in table {
            let found = TRIGGERS.map(|trigger| state.after(trigger));
            assert_eq!(found, expected, "from {state:?}");
        }
    }

    #[test]
    fn the_words_are_the_same_in_json_and_in_messages() {
        let reasons = [
            Reason::OutOfStock,
            Reason::UnknownProduct,
            Reason::Requested,
            Reason::ConfirmationTimeout,
        ];
        for reason in reasons {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for state in OrderState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    proptest! {
        #[test]
        fn closed_orders_stay_as_they_are_and_nothing_returns_to_placed(
            triggers in prop::collection::vec(select(TRIGGERS.to_vec()), 0..12),
        ) {
            let mut state = OrderState::Placed;
            for trigger in triggers {
                let Some(next) = state.after(trigger) else { continue };
                prop_assert!(state.is_open());
                prop_assert_ne!(next, OrderState::Placed);
                prop_assert_ne!(next, state);
                state = next;
            }
        }

        #[test]
        fn the_same_trigger_a_second_time_changes_nothing(
            state in select(OrderState::ALL.to_vec()),
            trigger in select(TRIGGERS.to_vec()),
        ) {
            if let Some(next) = state.after(trigger) {
                prop_assert_eq!(next.after(trigger), None);
            }
        }
    }
}

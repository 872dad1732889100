//! Money: decimal, never binary fractions.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use crate::orders::Quantity;

/// Decimal places of every amount.
const PLACES: u32 = 2;

/// An amount in the shop's one currency: not negative, with two decimal places. In JSON it is a
/// string such as `"19.90"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Money(Decimal);

/// Why a number is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no price: it must be from 0 to {max}, with two decimal places at most", max = Money::MAX_PRICE)]
pub struct NotMoney(pub Decimal);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::from_parts(0, 0, 0, false, PLACES));

    /// The highest price of a single thing. It leaves room for a thousand of them in the database.
    const MAX_PRICE: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

    /// A price that comes from outside.
    ///
    /// # Errors
    ///
    /// If it is negative, absurdly high or has a third decimal place.
    pub fn price(amount: Decimal) -> Result<Self, NotMoney> {
        let mut rescaled = amount;
        rescaled.rescale(PLACES);
        if rescaled == amount && (Decimal::ZERO..=Self::MAX_PRICE).contains(&amount) {
            Ok(Self(rescaled))
        } else {
            Err(NotMoney(amount))
        }
    }

    /// The amount as a number that shows two places. The database gives zero back with none.
    pub fn amount(self) -> Decimal {
        let mut amount = self.0;
        amount.rescale(PLACES);
        amount
    }

    /// What so many cost.
    #[must_use]
    pub fn times(self, quantity: Quantity) -> Self {
        Self(self.0 * Decimal::from(quantity.get()))
    }

    /// What is left, or nothing if `other` is more.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self((self.0 - other.0).max(Self::ZERO.0))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Serialize::serialize(&self.amount(), serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Result<Money, NotMoney> {
        Money::price(text.parse().unwrap())
    }

    #[test]
    fn prices_have_two_places_in_json() {
        for (text, json) in [
            ("19.9", "\"19.90\""),
            ("0", "\"0.00\""),
            ("7.00", "\"7.00\""),
        ] {
            assert_eq!(serde_json::to_string(&price(text).unwrap()).unwrap(), json);
        }
        let zero_from_the_database = Money(Decimal::ZERO);
        for zero in [Money::ZERO, zero_from_the_database] {
            assert_eq!(serde_json::to_string(&zero).unwrap(), "\"0.00\"");
        }
    }

    #[test]
    fn negative_fractional_and_absurd_prices_are_refused() {
        for text in ["-0.01", "1.001", "1000000000.01"] {
            assert!(price(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_left_is_never_negative() {
        let (one, two) = (price("1").unwrap(), price("2").unwrap());
        assert_eq!(two.less(one), one);
        assert_eq!(one.less(two), Money::ZERO);
    }
}

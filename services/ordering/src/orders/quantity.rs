//! How many are ordered.

use serde::Serialize;

/// A quantity from 1 to 999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Quantity(i32);

/// A number that is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be from 1 to {}", Quantity::MAX)]
pub struct OutOfRange;

impl Quantity {
    /// What is ordered if nothing is said.
    pub const ONE: Self = Self(1);
    /// The most that is sold in one order.
    pub const MAX: i32 = 999;

    /// The number as a quantity.
    ///
    /// # Errors
    ///
    /// If it is not from 1 to 999.
    pub fn new(number: i64) -> Result<Self, OutOfRange> {
        match i32::try_from(number) {
            Ok(number @ 1..=Self::MAX) => Ok(Self(number)),
            _ => Err(OutOfRange),
        }
    }

    /// The quantity as a number.
    pub fn get(self) -> u32 {
        self.0.unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_from_1_to_999() {
        assert_eq!(Quantity::new(1).unwrap(), Quantity::ONE);
        assert_eq!(Quantity::new(999).unwrap().get(), 999);
        for number in [0, -1, 1000, i64::MAX, i64::MIN] {
            assert_eq!(Quantity::new(number), Err(OutOfRange));
        }
    }
}

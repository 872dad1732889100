//! How many of a product there are.

use std::fmt;

use serde::Serialize;

/// A number of pieces that can be reserved: 0–999,999. Orders that give theirs back can take it
/// beyond, when the product was restocked in the meantime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct StockCount(i32);

/// Why a number is no [`StockCount`], or no number to restock by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {min} to {}", StockCount::MAX)]
pub struct OutOfRange {
    min: i32,
}

impl StockCount {
    /// The largest stock that can be put in: 999,999 pieces.
    pub const MAX: i32 = 999_999;

    /// A stock of so many pieces.
    ///
    /// # Errors
    ///
    /// If the number is negative or over [`StockCount::MAX`].
    pub fn parse(number: i64) -> Result<Self, OutOfRange> {
        in_range(number, 0).map(Self)
    }

    /// The number of pieces.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for StockCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of pieces that come in: 1–999,999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restock(i32);

impl Restock {
    /// So many pieces.
    ///
    /// # Errors
    ///
    /// If there are none, or more than any stock may have.
    pub fn parse(number: i64) -> Result<Self, OutOfRange> {
        in_range(number, 1).map(Self)
    }

    /// The number of pieces.
    pub fn get(self) -> i32 {
        self.0
    }
}

fn in_range(number: i64, min: i32) -> Result<i32, OutOfRange> {
    i32::try_from(number)
        .ok()
        .filter(|number| (min..=StockCount::MAX).contains(number))
        .ok_or(OutOfRange { min })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_is_neither_negative_nor_over_the_limit() {
        for number in [0, 1, 999_999] {
            assert_eq!(i64::from(StockCount::parse(number).unwrap().get()), number);
        }
        for number in [-1, 1_000_000, i64::MIN, i64::MAX] {
            let refusal = StockCount::parse(number).unwrap_err();
            assert_eq!(refusal.to_string(), "must be 0 to 999999");
        }
    }

    #[test]
    fn restocking_by_nothing_is_refused() {
        assert_eq!(Restock::parse(1).map(Restock::get), Ok(1));
        let refusal = Restock::parse(0).unwrap_err();
        assert_eq!(refusal.to_string(), "must be 1 to 999999");
    }
}

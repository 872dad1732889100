//! What one of a product costs.

use std::fmt;

use rust_decimal::Decimal;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A price: 0 to 99,999,999.99 in the shop's one currency, with two decimal places.
///
/// In JSON it is written as a string, `"19.90"`, which no reader can round. [`PriceText`] takes a
/// number as well, by its shortest decimal form, so that `19.9` means 19.90 and nothing near it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(try_from = "String", into = "String")]
#[sqlx(transparent)]
pub struct Price(Decimal);

/// Why something is no [`Price`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrice {
    /// It is not made of digits with at most one point.
    #[error("must be a decimal number such as \"19.90\"")]
    NotDecimal,
    /// It is less than nothing.
    #[error("must not be negative")]
    Negative,
    /// It is more than [`Price::MAX`].
    #[error("must be at most {}", Price::MAX)]
    TooHigh,
    /// It has a part smaller than a hundredth.
    #[error("must have at most two decimal places")]
    TooFine,
}

impl Price {
    /// The highest price: 99,999,999.99.
    pub const MAX: Self = Self(Decimal::from_parts(1_410_065_407, 2, 0, false, 2));

    /// The digits before the point of [`Price::MAX`].
    const WHOLE_DIGITS: usize = 8;

    /// The price of so many.
    ///
    /// # Errors
    ///
    /// If the amount is negative, too high or has a part smaller than a hundredth.
    pub fn new(amount: Decimal) -> Result<Self, InvalidPrice> {
        if amount < Decimal::ZERO {
            return Err(InvalidPrice::Negative);
        }
        if amount > Self::MAX.0 {
            return Err(InvalidPrice::TooHigh);
        }
        if amount.normalize().scale() > 2 {
            return Err(InvalidPrice::TooFine);
        }
        Ok(Self(amount))
    }

    /// Reads a price as JSON and people write it.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), and if the text has anything but digits, a sign and a point.
    pub fn parse(text: &str) -> Result<Self, InvalidPrice> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        // `Decimal` would take an underscore or a plus, too.
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
            return Err(InvalidPrice::NotDecimal);
        }
        if unsigned.len() < text.len() {
            return Err(InvalidPrice::Negative);
        }
        // What has more digits than a `Decimal` is told apart before it is made into one.
        if whole.trim_start_matches('0').len() > Self::WHOLE_DIGITS {
            return Err(InvalidPrice::TooHigh);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 2 {
            return Err(InvalidPrice::TooFine);
        }
        let amount = format!("{whole}.{fraction:0<2}").parse();
        Self::new(amount.map_err(|_| InvalidPrice::NotDecimal)?)
    }

    /// The amount, with exactly two decimal places.
    pub fn amount(self) -> Decimal {
        let mut amount = self.0;
        amount.rescale(2);
        amount
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.amount(), f)
    }
}

impl From<Price> for String {
    fn from(price: Price) -> Self {
        price.to_string()
    }
}

impl TryFrom<String> for Price {
    type Error = InvalidPrice;

    fn try_from(text: String) -> Result<Self, InvalidPrice> {
        Self::parse(&text)
    }
}

/// What somebody wrote where a price should be: a JSON string or number, still to be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceText(String);

impl PriceText {
    /// The price that is meant.
    ///
    /// # Errors
    ///
    /// As for [`Price::parse`].
    pub fn parse(&self) -> Result<Price, InvalidPrice> {
        Price::parse(&self.0)
    }
}

impl<'de> Deserialize<'de> for PriceText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrNumber;
        impl Visitor<'_> for StringOrNumber {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a price such as \"19.90\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
                Ok(number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
                Ok(number.to_string())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
                // A float prints as the shortest decimal that reads back as the same float: what
                // was typed, up to 15 digits, and a price has ten.
                Ok(number.to_string())
            }
        }
        deserializer.deserialize_any(StringOrNumber).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Result<String, String> {
        let text: PriceText = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let price = text.parse().map_err(|error| error.to_string())?;
        Ok(price.to_string())
    }

    #[test]
    fn a_string_and_a_number_mean_the_same_price() {
        for text in [
            "\"19.90\"",
            "\"19.9\"",
            "19.9",
            "19.90",
            "\"19.900\"",
            "\"000019.9\"",
        ] {
            assert_eq!(json(text), Ok("19.90".to_owned()), "{text}");
        }
        assert_eq!(json("20"), Ok("20.00".to_owned()));
        assert_eq!(json("0"), Ok("0.00".to_owned()));
        assert_eq!(json("99999999.99"), Ok("99999999.99".to_owned()));
    }

    #[test]
    fn what_is_no_price_is_refused_with_the_reason() {
        for (text, reason) in [
            ("-0.01", "negative"),
            ("\"-1\"", "negative"),
            ("100000000", "at most 99999999.99"),
            ("1e300", "at most 99999999.99"),
            (
                "\"0.0000000000000000000000000000000001\"",
                "two decimal places",
            ),
            ("\".50\"", "decimal number"),
            ("\"--1\"", "decimal number"),
            ("1e30", "at most 99999999.99"),
            ("0.001", "two decimal places"),
            ("\"1_000\"", "decimal number"),
            ("\"+1\"", "decimal number"),
            ("\"1e3\"", "decimal number"),
            ("\"\"", "decimal number"),
            ("\"1.2.3\"", "decimal number"),
            ("\"12,50\"", "decimal number"),
            ("null", "a price such as"),
            ("true", "a price such as"),
        ] {
            let refusal = json(text).expect_err(text);
            assert!(refusal.contains(reason), "{text}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn every_price_survives_json_as_string_and_as_number(cents in 0_i64..=9_999_999_999) {
            let price = Price::new(Decimal::new(cents, 2)).unwrap();
            prop_assert_eq!(json(&format!("\"{price}\"")), Ok(price.to_string()));
            prop_assert_eq!(json(&price.to_string()), Ok(price.to_string()));
        }
    }
}

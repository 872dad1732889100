//! Which fall of a price is passed on to orders that were placed before it.

use std::str::FromStr;

use rust_decimal::Decimal;

use crate::money::Money;

/// The least fall of a price, as a share of the old one, that orders get the benefit of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceDropThreshold(Decimal);

/// A text that is no threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a percentage above 0% and up to 100%, such as `10%`")]
pub struct NoPercentage;

impl PriceDropThreshold {
    /// Whether the price has fallen by at least this share.
    #[must_use]
    pub fn is_reached(self, old: Money, new: Money) -> bool {
        new < old && old.amount() - new.amount() >= self.0 * old.amount()
    }
}

impl FromStr for PriceDropThreshold {
    type Err = NoPercentage;

    /// The sign is required: a bare `0.1` would leave open which of two things it means.
    fn from_str(text: &str) -> Result<Self, NoPercentage> {
        let number = text.trim().strip_suffix('%').ok_or(NoPercentage)?;
        let percent = Decimal::from_str(number.trim()).map_err(|_| NoPercentage)?;
        if percent > Decimal::ZERO && percent <= Decimal::ONE_HUNDRED {
            Ok(Self(percent / Decimal::ONE_HUNDRED))
        } else {
            Err(NoPercentage)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(cents: i64) -> Money {
        Money::price(Decimal::new(cents, 2)).unwrap()
    }

    #[test]
    fn exactly_the_threshold_is_enough_and_a_cent_less_is_not() {
        let threshold: PriceDropThreshold = "10%".parse().unwrap();
        assert!(threshold.is_reached(money(19_90), money(17_91)));
        assert!(!threshold.is_reached(money(19_90), money(17_92)));
    }

    #[test]
    fn only_percentages_are_thresholds() {
        for text in ["10 %", " 0.5% ", "100%"] {
            assert!(text.parse::<PriceDropThreshold>().is_ok(), "{text}");
        }
        for text in ["", "10", "0.1", "0%", "-5%", "101%", "ten%"] {
            assert_eq!(
                text.parse::<PriceDropThreshold>(),
                Err(NoPercentage),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_price_that_rises_or_stays_never_counts(
            old in 0i64..100_000, rise in 0i64..100_000, percent in 1u32..=100,
        ) {
            let threshold: PriceDropThreshold = format!("{percent}%").parse().unwrap();
            prop_assert!(!threshold.is_reached(money(old), money(old + rise)));
        }

        #[test]
        fn a_deeper_fall_counts_if_a_lesser_one_does(
            old in 1i64..100_000, a in 0i64..100_000, b in 0i64..100_000, percent in 1u32..=100,
        ) {
            let threshold: PriceDropThreshold = format!("{percent}%").parse().unwrap();
            let (low, high) = (a.min(b), a.max(b));
            if threshold.is_reached(money(old), money(high)) {
                prop_assert!(threshold.is_reached(money(old), money(low)));
            }
        }
    }
}

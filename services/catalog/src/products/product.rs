//! A product and its rules.

use std::fmt;

use event_contracts::catalog::ProductEto;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Description, Price, ProductName, ReleaseDate};
use crate::stock::StockCount;

/// Identifies a product.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct ProductId(pub Uuid);

impl From<Uuid> for ProductId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the shop says about a product: all that replacing it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductDetails {
    /// What it is called.
    pub name: ProductName,
    /// What it is, in a few sentences.
    pub description: Option<Description>,
    /// What one costs.
    pub price: Price,
    /// When it comes, or came, to the market.
    pub release_date: Option<ReleaseDate>,
}

/// A product of the catalog.
///
/// The stock stands beside the details and not among them: it moves with every order, and neither
/// the version nor the events of a product speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub(super) id: ProductId,
    pub(super) details: ProductDetails,
    pub(super) stock: StockCount,
    pub(super) version: i64,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

/// What an edit has really changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// Nothing: it was so before.
    Nothing,
    /// Something, but not the price.
    Details,
    /// The price, and maybe more.
    Price {
        /// The price until now.
        old: Price,
    },
}

impl Product {
    /// A new product.
    pub fn new(id: ProductId, details: ProductDetails, stock: StockCount, now: Timestamp) -> Self {
        let now = as_stored(now);
        Self {
            id,
            details,
            stock,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// Replaces what the shop says about the product.
    pub fn replace(&mut self, details: ProductDetails, now: Timestamp) -> Change {
        if details == self.details {
            return Change::Nothing;
        }
        let old = std::mem::replace(&mut self.details, details);
        self.version += 1;
        self.updated_at = as_stored(now);
        if old.price == self.details.price {
            Change::Details
        } else {
            Change::Price { old: old.price }
        }
    }

    /// Sets another price.
    pub fn set_price(&mut self, price: Price, now: Timestamp) -> Change {
        let details = ProductDetails {
            price,
            ..self.details.clone()
        };
        self.replace(details, now)
    }

    /// Identifies the product.
    pub fn id(&self) -> ProductId {
        self.id
    }

    /// What the shop says about it.
    pub fn details(&self) -> &ProductDetails {
        &self.details
    }

    /// How many can be reserved.
    pub fn stock(&self) -> StockCount {
        self.stock
    }

    /// Rises with every change of the details.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// When it was put into the catalog.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When its details last changed.
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// The product as everybody may know it.
    pub fn eto(&self) -> ProductEto {
        let details = &self.details;
        ProductEto {
            id: self.id.0,
            name: details.name.as_str().to_owned(),
            description: details.description.as_ref().map(|d| d.as_str().to_owned()),
            price: details.price.amount(),
            release_date: details.release_date.map(ReleaseDate::date),
            version: self.version,
        }
    }
}

/// Cut to the microseconds that PostgreSQL keeps, so that a product reads the same before and
/// after it was stored.
fn as_stored(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    const THEN: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn tea_pot() -> Product {
        Product::new(
            ProductId(Uuid::now_v7()),
            details("Tea pot", "19.90"),
            StockCount::parse(3).unwrap(),
            THEN,
        )
    }

    fn details(name: &str, price: &str) -> ProductDetails {
        ProductDetails {
            name: ProductName::parse(name).unwrap(),
            description: None,
            price: Price::parse(price).unwrap(),
            release_date: None,
        }
    }

    #[test]
    fn an_edit_that_changes_nothing_leaves_version_and_time() {
        let mut product = tea_pot();
        let later = THEN + 1.hour();
        assert_eq!(
            product.replace(details("Tea pot", "19.9"), later),
            Change::Nothing
        );
        assert_eq!(
            product.set_price(Price::parse("19.90").unwrap(), later),
            Change::Nothing
        );
        assert_eq!((product.version(), product.updated_at()), (1, THEN));
    }

    #[test]
    fn an_edit_raises_the_version_and_leaves_the_stock() {
        let mut product = tea_pot();
        let later = THEN + 1.hour();
        assert_eq!(
            product.replace(details("Coffee pot", "19.90"), later),
            Change::Details
        );
        assert_eq!((product.version(), product.updated_at()), (2, later));
        assert_eq!(product.created_at(), THEN);
        assert_eq!(product.stock(), StockCount::parse(3).unwrap());
    }

    #[test]
    fn another_price_is_told_with_the_old_one() {
        let mut product = tea_pot();
        let old = product.details().price;
        let change = product.set_price(Price::parse("15").unwrap(), THEN + 1.hour());
        assert_eq!(change, Change::Price { old });
        assert_eq!(product.version(), 2);
        assert_eq!(product.eto().price.to_string(), "15.00");
    }

    #[test]
    fn a_product_reads_the_same_before_and_after_it_was_stored() {
        let now = Timestamp::constant(1_700_000_000, 123_456_789);
        let product = Product::new(
            ProductId(Uuid::now_v7()),
            details("Tea pot", "19.90"),
            StockCount::default(),
            now,
        );
        assert_eq!(product.created_at().subsec_nanosecond(), 123_456_000);
    }
}

//! What ordering knows of catalog's products: a replica, filled by asking catalog for all of them
//! and kept by events. For a product that is so new that it has not come yet, there is one question
//! to catalog.

mod look_up;
mod replica;
pub(crate) mod storage;

use event_contracts::catalog::ProductEto;

use crate::ids::ProductId;
use crate::money::{Money, NotMoney};

pub use look_up::{Catalog, LookUpError};
pub(crate) use replica::ProductReplica;

/// A product, as far as ordering needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Identifies it.
    pub id: ProductId,
    /// What it is called.
    pub name: String,
    /// What one costs.
    pub price: Money,
    /// Catalog's version of it.
    pub version: i64,
    /// Whether it is gone.
    pub deleted: bool,
}

impl Product {
    /// The product as catalog describes it.
    ///
    /// # Errors
    ///
    /// If its price is none.
    fn from_eto(eto: &ProductEto) -> Result<Self, NotMoney> {
        Ok(Self {
            id: ProductId(eto.id),
            name: eto.name.clone(),
            price: Money::price(eto.price)?,
            version: eto.version,
            deleted: false,
        })
    }
}

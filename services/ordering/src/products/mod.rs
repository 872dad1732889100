//! What ordering knows of catalog's products: a replica, kept by events, and for a product it has
//! never heard of one question to catalog.

mod handlers;
mod look_up;
pub(crate) mod storage;

use event_contracts::catalog::ProductEto;

use crate::ids::ProductId;
use crate::money::{Money, NotMoney};

pub(crate) use handlers::ProductReplica;
pub use look_up::{Catalog, LookUpError};

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
    /// The product as an event describes it.
    ///
    /// # Errors
    ///
    /// If its price is none.
    fn from_eto(eto: &ProductEto, deleted: bool) -> Result<Self, NotMoney> {
        Ok(Self {
            id: ProductId(eto.id),
            name: eto.name.clone(),
            price: Money::price(eto.price)?,
            version: eto.version,
            deleted,
        })
    }
}

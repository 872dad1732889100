//! What can be done to products: each function is one change, with the events it causes.

use event_bus::{RepositoryError, UnitOfWork};
use event_contracts::catalog::ProductPriceChangedEto;
use jiff::Timestamp;

use super::{Change, Price, Product, ProductDetails, ProductId, storage};
use crate::stock;

/// Why a product was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    /// There is no such product.
    #[error("there is no such product")]
    NotFound,
    /// Orders hold stock of the product.
    #[error("{count} reservations are open")]
    OpenReservations {
        /// How many orders.
        count: i64,
    },
    /// The database, or writing an event, failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl From<sqlx::Error> for EditError {
    fn from(error: sqlx::Error) -> Self {
        Self::Repository(error.into())
    }
}

/// Puts a new product into the catalog.
pub(crate) async fn create(
    work: &mut UnitOfWork,
    product: &Product,
) -> Result<(), RepositoryError> {
    storage::products().insert(work, product).await
}

/// The product, which nobody else changes until the unit of work ends.
pub(super) async fn open(work: &mut UnitOfWork, id: ProductId) -> Result<Product, EditError> {
    let product = storage::find_and_lock(work, id).await?;
    product.ok_or(EditError::NotFound)
}

/// Replaces what the shop says about a product. What was so before causes nothing.
pub(super) async fn replace(
    work: &mut UnitOfWork,
    product: &mut Product,
    details: ProductDetails,
) -> Result<(), EditError> {
    let change = product.replace(details, Timestamp::now());
    save(work, product, change).await
}

/// Sets the price of a product. The price it has causes nothing.
pub(super) async fn set_price(
    work: &mut UnitOfWork,
    product: &mut Product,
    price: Price,
) -> Result<(), EditError> {
    let change = product.set_price(price, Timestamp::now());
    save(work, product, change).await
}

/// Takes a product out of the catalog, unless orders hold stock of it.
pub(super) async fn delete(work: &mut UnitOfWork, product: &Product) -> Result<(), EditError> {
    // The product is locked, so no reservation can come between this look and the deletion.
    let count = stock::storage::count_open(work, product.id()).await?;
    if count > 0 {
        return Err(EditError::OpenReservations { count });
    }
    Ok(storage::products().delete(work, product).await?)
}

async fn save(work: &mut UnitOfWork, product: &Product, change: Change) -> Result<(), EditError> {
    if change == Change::Nothing {
        return Ok(());
    }
    storage::products().update(work, product).await?;
    if let Change::Price { old } = change {
        work.publish(&ProductPriceChangedEto {
            product_id: product.id().0,
            old_price: old.amount(),
            new_price: product.details().price.amount(),
        })
        .map_err(RepositoryError::from)?;
    }
    Ok(())
}

//! The one question that is asked of catalog over HTTP: what is this product that no event has
//! told of yet? It happens once for a product; the answer stays in the replica.

use std::time::Duration;

use rust_decimal::Decimal;
use serde::Deserialize;
use uuid::Uuid;

use super::Product;
use crate::ids::ProductId;
use crate::money::{Money, NotMoney};

/// How long the answer may take. Somebody is waiting for their order to be taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks catalog's integration API.
#[derive(Debug)]
pub struct Catalog(reqwest::Client);

/// Why catalog could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookUpError {
    /// It can't be reached, or answered with an error or with something unreadable.
    #[error("catalog could not be asked for a product")]
    Http(#[from] reqwest::Error),
    /// It answered with a price that is none.
    #[error("catalog answered with a product that can't be")]
    Price(#[from] NotMoney),
}

/// A product in catalog's answer.
#[derive(Debug, Deserialize)]
struct Answer {
    id: Uuid,
    name: String,
    price: Decimal,
    version: i64,
}

impl Default for Catalog {
    fn default() -> Self {
        let client = reqwest::Client::builder().timeout(PATIENCE).build();
        // Building fails only over TLS and name resolution, neither of which is set up here.
        Self(client.unwrap_or_default())
    }
}

impl Catalog {
    /// What catalog knows of a product; `None` if it has no such product.
    ///
    /// # Errors
    ///
    /// If catalog is away or its answer makes no sense.
    pub async fn product(
        &self,
        catalog_url: &str,
        id: ProductId,
    ) -> Result<Option<Product>, LookUpError> {
        let base = catalog_url.trim_end_matches('/');
        let url = format!("{base}/integration-api/catalog/product?ids={id}");
        let response = self.0.get(url).send().await?.error_for_status()?;
        let answers: Vec<Answer> = response.json().await?;
        let Some(answer) = answers.into_iter().find(|answer| answer.id == id.0) else {
            return Ok(None);
        };
        Ok(Some(Product {
            id,
            name: answer.name,
            price: Money::price(answer.price)?,
            version: answer.version,
            deleted: false,
        }))
    }
}

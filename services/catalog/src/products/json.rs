//! Products as clients read and write them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_host::{Answer, ETag, Violations};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use super::{Description, Price, PriceText, Product, ProductDetails, ProductName, ReleaseDate};
use crate::stock::StockCount;

/// A product of the catalog.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Product)]
pub(crate) struct ProductJson {
    /// Identifies the product.
    id: uuid::Uuid,
    /// What it is called.
    #[schema(example = "Enamel tea pot")]
    name: String,
    /// What it is, in a few sentences.
    #[schema(required = true)]
    description: Option<String>,
    /// What one costs, with two decimal places.
    #[schema(value_type = String, example = "19.90")]
    price: Price,
    /// How many can be ordered. It moves with every order, without a new version.
    #[schema(value_type = i32, minimum = 0)]
    stock_count: StockCount,
    /// When it comes, or came, to the market.
    #[schema(value_type = Option<String>, format = Date, required = true)]
    release_date: Option<String>,
    /// Rises with every change of what `PUT` replaces. It is the `ETag`, too.
    version: i64,
    /// When it was put into the catalog.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When its version last rose.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<&Product> for ProductJson {
    fn from(product: &Product) -> Self {
        let details = product.details();
        Self {
            id: product.id().0,
            name: details.name.to_string(),
            description: details.description.as_ref().map(|d| d.as_str().to_owned()),
            price: details.price,
            stock_count: product.stock(),
            release_date: details.release_date.map(|date| date.to_string()),
            version: product.version(),
            created_at: product.created_at(),
            updated_at: product.updated_at(),
        }
    }
}

/// The product with its version as `ETag`, ready to be answered.
///
/// The tag stands for what `PUT` can overwrite. The stock in the same body moves without it, so the
/// service answers no conditional `GET`.
pub(crate) fn tagged(product: &Product) -> (ETag, axum::Json<ProductJson>) {
    (ETag(product.version()), axum::Json(product.into()))
}

/// A product to be put into the catalog.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewProduct {
    /// What it is called.
    #[schema(min_length = 2, max_length = 120, example = "Enamel tea pot")]
    name: String,
    /// What it is, in a few sentences.
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// What one costs.
    #[schema(schema_with = price_text)]
    price: PriceText,
    /// How many there are to begin with; none if left out.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 999_999)]
    stock_count: i64,
    /// When it comes, or came, to the market.
    #[schema(format = Date)]
    release_date: Option<String>,
}

/// What a product is to be from now on. What is left out is no more.
///
/// The stock is not among it: it changes by restocking and by orders.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ProductReplacement {
    /// What it is called.
    #[schema(min_length = 2, max_length = 120, example = "Enamel tea pot")]
    name: String,
    /// What it is, in a few sentences.
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// What one costs.
    #[schema(schema_with = price_text)]
    price: PriceText,
    /// When it comes, or came, to the market.
    #[schema(format = Date)]
    release_date: Option<String>,
}

/// Another price for a product.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPrice {
    /// What one costs from now on.
    #[schema(schema_with = price_text)]
    price: PriceText,
}

/// The schema of [`PriceText`].
fn price_text() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Number]))
        .description(Some("0 to 99999999.99 with at most two decimal places."))
        .examples(["19.90"])
        .build()
}

impl NewProduct {
    /// The product that is meant.
    pub(super) fn parse(self) -> Answer<(ProductDetails, StockCount)> {
        let mut violations = Violations::new();
        let stock = violations.check("/stockCount", StockCount::parse(self.stock_count));
        let replacement = ProductReplacement {
            name: self.name,
            description: self.description,
            price: self.price,
            release_date: self.release_date,
        };
        let details = replacement.check(&mut violations);
        match (details, stock) {
            (Some(details), Some(stock)) => Ok((details, stock)),
            _ => Err(violations.into()),
        }
    }
}

impl ProductReplacement {
    /// The details that are meant.
    pub(super) fn parse(self) -> Answer<ProductDetails> {
        let mut violations = Violations::new();
        self.check(&mut violations).ok_or_else(|| violations.into())
    }

    /// Looks at all fields before giving up, so that a client hears of all that is wrong.
    fn check(&self, violations: &mut Violations) -> Option<ProductDetails> {
        let name = violations.check("/name", ProductName::parse(&self.name));
        let description = self.description.as_deref().unwrap_or_default();
        let description = violations.check("/description", Description::parse(description));
        let price = violations.check("/price", self.price.parse());
        let release_date = self.release_date.as_deref().map(ReleaseDate::parse);
        let release_date = violations.check("/releaseDate", release_date.transpose());
        Some(ProductDetails {
            name: name?,
            description: description?,
            price: price?,
            release_date: release_date?,
        })
    }
}

impl NewPrice {
    /// The price that is meant.
    pub(super) fn parse(self) -> Answer<Price> {
        let mut violations = Violations::new();
        violations
            .check("/price", self.price.parse())
            .ok_or_else(|| violations.into())
    }
}

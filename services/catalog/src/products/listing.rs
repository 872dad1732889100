//! Lists of products, page by page.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_host::{Cursor, Page, PageLimit};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::storage::{ProductRow, select_products};
use super::{Description, Price, Product, ProductId, ProductName};
use crate::stock::StockCount;

/// Which products a list has, and in which order.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only products whose name contains this text, upper or lower case.
    #[param(value_type = Option<String>, min_length = 1, max_length = 120)]
    pub(super) filter: Option<Filter>,
    /// The order of the list; by name if nothing is said.
    #[param(inline)]
    pub(super) sort: Sort,
    /// How many products a page has at most.
    #[param(inline)]
    pub(super) limit: PageLimit,
    /// The `next` of an earlier page, asked for with the same `sort`.
    #[param(value_type = Option<String>)]
    pub(super) cursor: Option<Cursor<Key>>,
}

/// A part of a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Filter(String);

/// Why a text is no [`Filter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 120 characters, none of them a control character")]
pub(super) struct InvalidFilter;

impl TryFrom<String> for Filter {
    type Error = InvalidFilter;

    fn try_from(text: String) -> Result<Self, InvalidFilter> {
        let length = text.chars().count();
        let has_room = (1..=ProductName::MAX_LENGTH).contains(&length);
        if has_room && !text.chars().any(char::is_control) {
            Ok(Self(text))
        } else {
            Err(InvalidFilter)
        }
    }
}

/// The orders a list can have. A minus turns one round; equal ones are ordered by id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub(super) enum Sort {
    /// By name.
    #[default]
    #[serde(rename = "name")]
    Name,
    /// By name, last one first.
    #[serde(rename = "-name")]
    NameDescending,
    /// Cheapest first.
    #[serde(rename = "price")]
    Price,
    /// Dearest first.
    #[serde(rename = "-price")]
    PriceDescending,
    /// Oldest first.
    #[serde(rename = "createdAt")]
    CreatedAt,
    /// Newest first.
    #[serde(rename = "-createdAt")]
    CreatedAtDescending,
}

/// Where a page ends: what the list is sorted by, and the id that tells equal ones apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Key {
    /// In a list by name.
    Name(ProductName, ProductId),
    /// In a list by price.
    Price(Price, ProductId),
    /// In a list by time of creation.
    CreatedAt(Timestamp, ProductId),
}

impl Key {
    fn of(product: &Product, sort: Sort) -> Self {
        let id = product.id();
        match sort {
            Sort::Name | Sort::NameDescending => Self::Name(product.details().name.clone(), id),
            Sort::Price | Sort::PriceDescending => Self::Price(product.details().price, id),
            Sort::CreatedAt | Sort::CreatedAtDescending => {
                Self::CreatedAt(product.created_at(), id)
            }
        }
    }

    /// The parts for a list that is sorted like this, of which all but two are absent.
    fn parts(
        &self,
    ) -> (
        Option<&ProductName>,
        Option<Price>,
        Option<Timestamp>,
        ProductId,
    ) {
        match self {
            Self::Name(name, id) => (Some(name), None, None, *id),
            Self::Price(price, id) => (None, Some(*price), None, *id),
            Self::CreatedAt(time, id) => (None, None, Some(*time), *id),
        }
    }
}

impl ListParams {
    /// Whether the cursor, if there is one, comes from a list in the same order.
    pub(super) fn cursor_fits(&self) -> bool {
        let Some(Cursor(key)) = &self.cursor else {
            return true;
        };
        matches!(
            (key, self.sort),
            (Key::Name(..), Sort::Name | Sort::NameDescending)
                | (Key::Price(..), Sort::Price | Sort::PriceDescending)
                | (
                    Key::CreatedAt(..),
                    Sort::CreatedAt | Sort::CreatedAtDescending
                )
        )
    }
}

/// One page of products.
pub(super) async fn page(
    connection: &mut PgConnection,
    params: &ListParams,
) -> Result<Page<Product>, sqlx::Error> {
    let filter = params.filter.as_ref().map(|filter| filter.0.as_str());
    let key = params.cursor.as_ref().map(|Cursor(key)| key.parts());
    let (name, price, time, id) = match key {
        Some((name, price, time, id)) => (name, price, time, Some(id.0)),
        None => (None, None, None, None),
    };
    let name = name.map(ProductName::as_str);
    let price = price.map(Price::amount);
    let time = time.map(jiff_sqlx::ToSqlx::to_sqlx);
    let rows = params.limit.rows();

    // One statement for each order, so that each is checked and has its index.
    macro_rules! in_order {
        ($column:tt, $type:tt, $after:tt, $direction:tt, $key:expr) => {
            select_products!(
                ["where ($1::text is null or position(lower($1) in lower(name)) > 0)
                   and ($2::" $type " is null or (" $column ", id) " $after " ($2, $3))
                 order by " $column $direction ", id" $direction " limit $4"],
                filter, $key as _, id, rows
            )
            .fetch_all(connection)
            .await?
        };
    }
    let rows = match params.sort {
        Sort::Name => in_order!("name", "text", ">", " asc", name),
        Sort::NameDescending => in_order!("name", "text", "<", " desc", name),
        Sort::Price => in_order!("price", "numeric", ">", " asc", price),
        Sort::PriceDescending => in_order!("price", "numeric", "<", " desc", price),
        Sort::CreatedAt => in_order!("created_at", "timestamptz", ">", " asc", time),
        Sort::CreatedAtDescending => in_order!("created_at", "timestamptz", "<", " desc", time),
    };
    let products = rows.into_iter().map(Product::from).collect();
    Ok(Page::from_rows(products, params.limit, |last| {
        Key::of(last, params.sort)
    }))
}

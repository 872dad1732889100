//! The SQL of products.

use event_bus::{EntityStore, EventBusBuilder, Repository, SnapshotSource};
use event_contracts::catalog::ProductEto;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{Description, Price, Product, ProductDetails, ProductId, ProductName, ReleaseDate};
use crate::stock::StockCount;

/// The one way to create, change and delete products: everybody is told in the same commit.
pub(super) fn products() -> Repository<impl EntityStore<Entity = Product, Eto = ProductEto>> {
    Repository::<ProductStore>::new()
}

/// Shows all products to those who keep replicas of them.
pub(crate) fn serve_snapshots(bus: EventBusBuilder) -> EventBusBuilder {
    bus.serve_snapshots::<ProductStore>()
}

struct ProductStore;

impl EntityStore for ProductStore {
    type Entity = Product;
    type Eto = ProductEto;

    fn eto(product: &Product) -> ProductEto {
        product.eto()
    }

    async fn insert(connection: &mut PgConnection, product: &Product) -> Result<(), sqlx::Error> {
        let details = &product.details;
        sqlx::query!(
            "insert into products
                 (id, name, description, price, stock_count, release_date,
                  version, created_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            product.id.0,
            details.name.as_str(),
            details.description.as_ref().map(Description::as_str),
            details.price.amount(),
            product.stock.get(),
            details.release_date.map(|date| date.date().to_sqlx()) as _,
            product.version,
            product.created_at.to_sqlx() as _,
            product.updated_at.to_sqlx() as _,
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Leaves the stock alone: what was read of it may have changed since.
    async fn update(connection: &mut PgConnection, product: &Product) -> Result<(), sqlx::Error> {
        let details = &product.details;
        let done = sqlx::query!(
            "update products
             set name = $2, description = $3, price = $4, release_date = $5,
                 version = $6, updated_at = $7
             where id = $1 and version = $6::bigint - 1",
            product.id.0,
            details.name.as_str(),
            details.description.as_ref().map(Description::as_str),
            details.price.amount(),
            details.release_date.map(|date| date.date().to_sqlx()) as _,
            product.version,
            product.updated_at.to_sqlx() as _,
        )
        .execute(connection)
        .await?;
        expect_one(done.rows_affected())
    }

    async fn delete(connection: &mut PgConnection, product: &Product) -> Result<(), sqlx::Error> {
        let done = sqlx::query!("delete from products where id = $1", product.id.0)
            .execute(connection)
            .await?;
        expect_one(done.rows_affected())
    }
}

impl SnapshotSource for ProductStore {
    async fn page(
        connection: &mut PgConnection,
        after: Option<uuid::Uuid>,
        limit: i64,
    ) -> Result<Vec<Product>, sqlx::Error> {
        let rows = select_products!(
            ["where $1::uuid is null or id > $1 order by id limit $2"],
            after,
            limit
        )
        .fetch_all(connection)
        .await?;
        Ok(rows.into_iter().map(Product::from).collect())
    }
}

/// Products are changed under their lock, so the row is there in the version that was read.
fn expect_one(rows: u64) -> Result<(), sqlx::Error> {
    if rows == 1 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// A row of `products`.
pub(super) struct ProductRow {
    pub(super) id: ProductId,
    pub(super) name: ProductName,
    pub(super) description: Option<Description>,
    pub(super) price: Price,
    pub(super) stock_count: StockCount,
    pub(super) release_date: Option<jiff_sqlx::Date>,
    pub(super) version: i64,
    pub(super) created_at: jiff_sqlx::Timestamp,
    pub(super) updated_at: jiff_sqlx::Timestamp,
}

impl From<ProductRow> for Product {
    fn from(row: ProductRow) -> Self {
        Self {
            id: row.id,
            details: ProductDetails {
                name: row.name,
                description: row.description,
                price: row.price,
                release_date: row
                    .release_date
                    .map(|date| ReleaseDate::from(date.to_jiff())),
            },
            stock: row.stock_count,
            version: row.version,
            created_at: row.created_at.to_jiff(),
            updated_at: row.updated_at.to_jiff(),
        }
    }
}

/// Selects [`ProductRow`]s: the columns are the same everywhere, what follows is not.
macro_rules! select_products {
    ([$($rest:tt)+], $($argument:expr),*) => {
        sqlx::query_as!(
            ProductRow,
            r#"select id as "id: ProductId", name as "name: ProductName",
                      description as "description: Description", price as "price: Price",
                      stock_count as "stock_count: StockCount", release_date,
                      version, created_at, updated_at
               from products "# $(+ $rest)+,
            $($argument),*
        )
    };
}
pub(super) use select_products;

/// The product, if it exists.
pub(crate) async fn find(
    connection: &mut PgConnection,
    id: ProductId,
) -> Result<Option<Product>, sqlx::Error> {
    let row = select_products!(["where id = $1"], id.0)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(Product::from))
}

/// The product, if it exists, locked until the unit of work ends: nobody else edits it, reserves
/// or restocks.
pub(super) async fn find_and_lock(
    connection: &mut PgConnection,
    id: ProductId,
) -> Result<Option<Product>, sqlx::Error> {
    let row = select_products!(["where id = $1 for update"], id.0)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(Product::from))
}

/// Those of the products that exist.
pub(super) async fn find_many(
    connection: &mut PgConnection,
    ids: &[uuid::Uuid],
) -> Result<Vec<Product>, sqlx::Error> {
    let rows = select_products!(["where id = any($1) order by id"], ids)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(Product::from).collect())
}

//! A dozen products to try the shop with.

mod storage;

use event_bus::EventBus;
use jiff::Timestamp;
use uuid::{Uuid, uuid};

use crate::products::{
    self, Description, Price, Product, ProductDetails, ProductId, ProductName, ReleaseDate,
};
use crate::stock::StockCount;

/// Id, name, description, price, stock and release date of each product.
type Demo = (
    Uuid,
    &'static str,
    &'static str,
    &'static str,
    i64,
    &'static str,
);

#[rustfmt::skip]
const PRODUCTS: [Demo; 12] = [
    (uuid!("5995897b-1de9-7272-b31c-3a165bbe7b18"), "Product A",
     "The product of the first order: stock 53, and one less after it.", "19.90", 53, "2025-01-15"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c001"), "Enamel tea pot",
     "Holds 1.2 litres. Fine on gas, on induction and over a fire.", "34.50", 120, "2024-03-01"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c002"), "Hand coffee grinder",
     "Conical steel burr, 24 steps from espresso to French press.", "89.00", 35, "2024-09-12"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c003"), "Linen tea towel, set of three",
     "Washed linen, 50 × 70 cm, in sand, rust and slate.", "27.90", 260, "2023-05-20"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c004"), "Cast-iron skillet, 26 cm",
     "Seasoned with linseed oil and ready for the first steak.", "59.95", 48, "2022-11-04"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c005"), "Walnut cutting board",
     "End grain, oiled. 40 × 30 × 4 cm, with a groove for juice.", "74.00", 22, "2024-06-18"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c006"), "Beeswax candle, pair",
     "Dipped by hand; each burns for about nine hours.", "12.40", 400, "2021-10-01"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c007"), "Wool picnic blanket",
     "Recycled lambswool, 150 × 180 cm, with a leather strap.", "98.00", 17, "2025-04-02"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c008"), "Insulated bottle, 750 ml",
     "Keeps tea hot for twelve hours and water cold for a day.", "29.00", 310, "2023-02-14"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c009"), "Paper notebook, dotted",
     "192 pages of 100 g paper that a fountain pen does not bleed through.", "16.80", 530, "2022-08-22"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c00a"), "Brass desk lamp",
     "Turns and tilts; with a dimmable bulb of 6 watts.", "149.00", 9, "2025-02-27"),
    (uuid!("0194f3a1-6c00-7a10-8b01-4d2f60a1c00b"), "Sourdough starter kit",
     "A jar, a scale, a scraper and a culture that has lived for years.", "42.00", 64, "2024-01-08"),
];

/// Puts the products in, unless that has been done before; what became of them since is left
/// alone.
///
/// Of several instances that start together one does it, and the others wait until it is done.
pub(crate) async fn insert_once(bus: &EventBus) -> anyhow::Result<()> {
    let mut work = bus.begin().await?;
    if !storage::note_products(&mut work).await? {
        return Ok(());
    }
    for demo in PRODUCTS {
        products::create(&mut work, &product(demo)?).await?;
    }
    work.commit().await?;
    tracing::info!(products = PRODUCTS.len(), "put the demo products in");
    Ok(())
}

fn product((id, name, description, price, stock, released): Demo) -> anyhow::Result<Product> {
    let details = ProductDetails {
        name: ProductName::parse(name)?,
        description: Description::parse(description)?,
        price: Price::parse(price)?,
        release_date: Some(ReleaseDate::parse(released)?),
    };
    let stock = StockCount::parse(stock)?;
    Ok(Product::new(
        ProductId(id),
        details,
        stock,
        Timestamp::now(),
    ))
}

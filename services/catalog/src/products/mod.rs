//! Products: what the shop sells, and what it says about it.

mod description;
mod editing;
mod http;
mod integration;
mod json;
mod listing;
mod name;
mod price;
mod product;
mod release_date;
pub(crate) mod storage;

pub use {
    description::{Description, InvalidDescription},
    name::{InvalidProductName, ProductName},
    price::{InvalidPrice, Price, PriceText},
    product::{Change, Product, ProductDetails, ProductId},
    release_date::{InvalidReleaseDate, ReleaseDate},
};
pub(crate) use {
    editing::create,
    http::{routes, unknown_product},
    json::{ProductJson, tagged},
};

//! Lists of products: filter, order, pages.

use serde_json::{Value, json};

use crate::support::{TestCatalog, path_of};

/// Names and prices, in the order of their creation; two products are alike but for the id.
const STOCKED: [(&str, &str); 5] = [
    ("Tea pot", "34.50"),
    ("Coffee pot", "40.00"),
    ("Tea towel", "9.30"),
    ("Candle", "9.30"),
    ("Candle", "9.30"),
];

async fn stocked() -> TestCatalog {
    let catalog = TestCatalog::start().await;
    for (name, price) in STOCKED {
        catalog.product(name, price, 1).await;
    }
    catalog
}

/// All products of a list, read in pages of this size by following `next`.
async fn walk(catalog: &TestCatalog, query: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/catalog/product?{query}&limit={limit}{cursor}");
        let page = catalog.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let on_page = page.body["items"].as_array().expect("items").clone();
        assert!(on_page.len() <= limit);
        items.extend(on_page);
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
        assert!(items.len() <= STOCKED.len(), "pages without end");
    }
}

fn field<'a>(items: &'a [Value], name: &str) -> Vec<&'a str> {
    let text = |item: &'a Value| item[name].as_str().expect("a text");
    items.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_gives_every_product_once_whatever_the_size_of_a_page() {
    let catalog = stocked().await;
    for (sort, key, expected) in [
        (
            "",
            "name",
            ["Candle", "Candle", "Coffee pot", "Tea pot", "Tea towel"],
        ),
        (
            "sort=-name",
            "name",
            ["Tea towel", "Tea pot", "Coffee pot", "Candle", "Candle"],
        ),
        (
            "sort=price",
            "price",
            ["9.30", "9.30", "9.30", "34.50", "40.00"],
        ),
        (
            "sort=-price",
            "price",
            ["40.00", "34.50", "9.30", "9.30", "9.30"],
        ),
        ("sort=createdAt", "name", STOCKED.map(|(name, _)| name)),
        (
            "sort=-createdAt",
            "name",
            ["Candle", "Candle", "Tea towel", "Coffee pot", "Tea pot"],
        ),
    ] {
        let whole = walk(&catalog, sort, 100).await;
        assert_eq!(field(&whole, key), expected, "{sort}");
        for limit in [1, 2, 5] {
            assert_eq!(
                walk(&catalog, sort, limit).await,
                whole,
                "{sort} by {limit}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_finds_a_part_of_the_name_in_any_case() {
    let catalog = stocked().await;
    let found = walk(&catalog, "filter=TEA", 1).await;
    assert_eq!(field(&found, "name"), ["Tea pot", "Tea towel"]);
    let found = walk(&catalog, "filter=a%20p", 20).await;
    assert_eq!(field(&found, "name"), ["Tea pot"]);
    for nothing in ["%25", "_", "%5C", "%27"] {
        let found = walk(&catalog, &format!("filter={nothing}"), 20).await;
        assert!(found.is_empty(), "{nothing} is no wildcard");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_what_a_product_shows() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    let list = catalog.get("/api/catalog/product").await.body;
    let product = catalog.get(&path).await.body;
    assert_eq!(list, json!({ "items": [product], "next": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_list_is_refused_by_the_parameter() {
    let catalog = stocked().await;
    let by_price = catalog.get("/api/catalog/product?sort=price&limit=1").await;
    let by_price = by_price.body["next"].as_str().expect("a cursor").to_owned();
    let long = "x".repeat(121);
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("sort=colour", "sort"),
        ("filter=", "filter"),
        ("filter=a%00b", "filter"),
        (&format!("filter={long}"), "filter"),
        ("cursor=abc", "cursor"),
        (&format!("cursor={by_price}"), "cursor"),
        (&format!("sort=name&cursor={by_price}"), "cursor"),
        ("colour=red", "colour"),
    ] {
        let refused = catalog.get(&format!("/api/catalog/product?{query}")).await;
        refused.is_problem(422, "validation");
        assert_eq!(refused.error_places(), [parameter], "{query}");
    }
}

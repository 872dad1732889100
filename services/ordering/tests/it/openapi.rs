//! The API's document is part of the repository, so that a change of the API is seen as one.

use crate::support::Shop;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

/// To accept a change: `UPDATE_GOLDEN=1`, and read the difference before committing it.
#[tokio::test]
async fn the_document_is_the_one_in_the_repository() {
    let shop = Shop::open().await;
    let document = shop.read("/api-docs/openapi.json", None).await;
    let found = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &found).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(
        found == golden,
        "the API is not what openapi.json says; see the test for how to accept it:\n{found}"
    );
}

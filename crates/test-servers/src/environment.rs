//! Where the servers are.

use reqwest::Url;

/// The URL in the variable `name`.
///
/// # Panics
///
/// With one line that says what to run, where the variable is missing or no URL.
pub(crate) fn server_url(name: &str) -> Url {
    let Ok(value) = std::env::var(name) else {
        panic!(
            "{name} is not set: run `make test`, or `scripts/with-servers cargo nextest run -p <package>`"
        );
    };
    Url::parse(&value).unwrap_or_else(|error| panic!("{name} is not a URL: {error}"))
}

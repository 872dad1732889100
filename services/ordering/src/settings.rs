//! Ordering's own variables.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use crate::orders::PriceDropThreshold;

/// What can be set for ordering beside what every service has.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where catalog answers questions about products that no event has told of, over plain HTTP
    #[arg(long, env = "CATALOG_URL", id = "CATALOG_URL",
          default_value = "http://127.0.0.1:8081", value_parser = http_url)]
    pub catalog_url: String,
    /// How long an order waits for catalog's answer before it is cancelled (`15m`, `90s`)
    #[arg(long = "order-confirmation-timeout", env = "ORDER_CONFIRMATION_TIMEOUT",
          id = "ORDER_CONFIRMATION_TIMEOUT", default_value = "15m", value_parser = timeout)]
    pub confirmation_timeout: Duration,
    /// The least fall of a price that open orders get the benefit of
    #[arg(
        long,
        env = "PRICE_DROP_THRESHOLD",
        id = "PRICE_DROP_THRESHOLD",
        default_value = "10%"
    )]
    pub price_drop_threshold: PriceDropThreshold,
    /// How many orders may wait to be written before more are refused with 503
    #[arg(long, env = "MAX_WAITING_ORDERS", id = "MAX_WAITING_ORDERS", default_value_t = 1024,
          value_parser = max_waiting)]
    pub max_waiting_orders: usize,
}

fn http_url(text: &str) -> Result<String, &'static str> {
    match reqwest::Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(text.to_owned()),
        _ => Err("must be a URL that begins with http://"),
    }
}

fn timeout(text: &str) -> Result<Duration, &'static str> {
    const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or("must be a time such as `15m` or `90s`, up to 30 days")
}

fn max_waiting(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number))
        .ok_or("must be a whole number from 1 to 1000000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_have_a_unit() {
        assert_eq!(timeout("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(timeout("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(timeout("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "15", "0s", "-1m", "31d", "soon", "1000h"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn catalog_is_asked_over_http() {
        assert!(http_url("http://catalog:8081").is_ok());
        for text in ["", "catalog:8081", "ftp://catalog", "https://catalog"] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }
}

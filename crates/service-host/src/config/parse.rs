//! Parsers of single values. What they say never repeats the value.

use std::str::FromStr;

use reqwest::Url;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

pub(super) fn database_url(text: &str) -> Result<SecretString, &'static str> {
    let scheme = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    if scheme && PgConnectOptions::from_str(text).is_ok() {
        Ok(SecretString::from(text))
    } else {
        Err("must be postgres://user:password@host:port/database")
    }
}

pub(super) fn amqp_url(text: &str) -> Result<SecretString, &'static str> {
    let is_address = |part: &str| {
        Url::parse(part.trim())
            .is_ok_and(|url| matches!(url.scheme(), "amqp" | "amqps") && url.has_host())
    };
    if text.split(',').all(is_address) {
        Ok(SecretString::from(text))
    } else {
        Err("must be amqp://user:password@host:port/vhost, or several separated by commas")
    }
}

pub(super) fn jwks_url(text: &str) -> Result<String, &'static str> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(text.to_owned()),
        _ => Err("must be a URL that begins with http://"),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, &'static str> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err("must be a level such as `info`, or levels by module such as `info,sqlx=warn`")
        }
    }
}

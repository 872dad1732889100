//! Development or production, and what production refuses.

use clap::ValueEnum;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

/// Where a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// A developer's machine: default credentials work.
    Development,
    /// Default credentials are refused at the start.
    Production,
}

/// A variable whose value can't be used. Says which and why, and never the value.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct ConfigError {
    variable: &'static str,
    reason: String,
}

impl ConfigError {
    /// The variable and what is wrong with its value, which must not be repeated: it may be secret.
    pub fn new(variable: &'static str, reason: impl Into<String>) -> Self {
        Self {
            variable,
            reason: reason.into(),
        }
    }

    /// A default credential in production.
    #[must_use]
    pub fn default_credential(variable: &'static str) -> Self {
        Self::new(
            variable,
            "is a default credential, which ENVIRONMENT=production refuses",
        )
    }
}

/// What servers and examples come with.
fn is_well_known(password: &str) -> bool {
    ["guest", "password", "postgres", "rabbitmq", "waybill"].contains(&password)
}

pub(super) fn refuse_password_like_user(
    variable: &'static str,
    url: &SecretString,
) -> Result<(), ConfigError> {
    let url =
        Url::parse(url.expose_secret()).map_err(|_| ConfigError::new(variable, "is no URL"))?;
    match url.password() {
        Some(password) if password == url.username() || is_well_known(password) => {
            Err(ConfigError::default_credential(variable))
        }
        _ => Ok(()),
    }
}

/// An AMQP address without credentials means guest:guest, too.
pub(super) fn refuse_guest(variable: &'static str, urls: &SecretString) -> Result<(), ConfigError> {
    for url in urls.expose_secret().split(',') {
        let url = Url::parse(url.trim()).map_err(|_| ConfigError::new(variable, "is no URL"))?;
        let user = if url.username().is_empty() {
            "guest"
        } else {
            url.username()
        };
        let password = url.password().unwrap_or("guest");
        if password == user || is_well_known(password) {
            return Err(ConfigError::default_credential(variable));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::HostConfig;
    use super::*;

    fn refused(database: &str, broker: &str) -> Option<String> {
        let mut config = HostConfig::local(database, broker, "http://127.0.0.1/jwks.json");
        config.runs_in.environment = Environment::Production;
        config.check().err().map(|error| error.to_string())
    }

    #[test]
    fn production_refuses_default_credentials_by_the_name_of_the_variable() {
        let good_db = "postgres://catalog:s3cret@db/waybill";
        let good_mq = "amqp://catalog:s3cret@mq";
        assert_eq!(refused(good_db, good_mq), None);
        let database = refused("postgres://catalog:catalog@db/waybill", good_mq).unwrap();
        assert!(database.starts_with("DATABASE_URL: "), "{database}");
        for default in [
            "amqp://guest:guest@mq",
            "amqp://mq",
            "amqp://a:b@mq,amqp://guest:guest@mq2",
            "amqp://shop:waybill@mq",
        ] {
            let broker = refused(good_db, default).unwrap();
            assert!(broker.starts_with("AMQP_URL: "), "{broker}");
        }
    }
}

//! Configuration by environment variables, one small struct per concern.
//!
//! Each variable is also an option of the command line (`HTTP_ADDR` is `--http-addr`), which is
//! handy for trying things out; secrets belong in the environment.

mod environment;
mod parse;

use std::fmt;
use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use secrecy::SecretString;

pub use environment::{ConfigError, Environment};

/// Everything the host itself has to know.
#[derive(Debug, Clone, Args)]
pub struct HostConfig {
    /// The service's own database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// The broker.
    #[command(flatten)]
    pub broker: BrokerConfig,
    /// Where to listen.
    #[command(flatten)]
    pub http: HttpConfig,
    /// Whose tokens to accept.
    #[command(flatten)]
    pub tokens: TokenConfig,
    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogConfig,
    /// Where this runs.
    #[command(flatten)]
    pub runs_in: EnvironmentConfig,
}

/// The database of the service.
#[derive(Debug, Clone, Args)]
pub struct DatabaseConfig {
    /// The service's own database: postgres://user:password@host:port/database
    #[arg(long = "database-url", env = "DATABASE_URL", id = "DATABASE_URL",
          hide_env_values = true, value_parser = parse::database_url)]
    pub url: SecretString,
    /// Most connections to the database at a time
    #[arg(long = "database-max-connections", env = "DATABASE_MAX_CONNECTIONS",
          id = "DATABASE_MAX_CONNECTIONS", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(4..=1000))]
    pub max_connections: u32,
}

/// The broker of the messages.
#[derive(Debug, Clone, Args)]
pub struct BrokerConfig {
    /// Addresses of the broker's nodes, separated by commas: amqp://user:password@host:port/vhost
    #[arg(long = "amqp-url", env = "AMQP_URL", id = "AMQP_URL",
          hide_env_values = true, value_parser = parse::amqp_url)]
    pub url: SecretString,
}

/// Where the service listens. The defaults depend on the service.
#[derive(Debug, Clone, Args)]
pub struct HttpConfig {
    /// Address and port of the API
    #[arg(long = "http-addr", env = "HTTP_ADDR", id = "HTTP_ADDR")]
    pub addr: SocketAddr,
    /// Address and port of /metrics
    #[arg(long = "metrics-addr", env = "METRICS_ADDR", id = "METRICS_ADDR")]
    pub metrics_addr: SocketAddr,
}

/// Whose tokens are accepted.
#[derive(Debug, Clone, Args)]
pub struct TokenConfig {
    /// Where the keys that sign access tokens are published, over plain HTTP
    #[arg(long = "identity-jwks-url", env = "IDENTITY_JWKS_URL", id = "IDENTITY_JWKS_URL",
          default_value = "http://127.0.0.1:8083/.well-known/jwks.json",
          value_parser = parse::jwks_url)]
    pub jwks_url: String,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogConfig {
    /// What is logged: a level, or levels by module (`info,sqlx=warn`)
    #[arg(long = "rust-log", env = "RUST_LOG", id = "RUST_LOG", default_value = "info",
          value_parser = parse::log_filter)]
    pub filter: String,
    /// How it is written
    #[arg(long = "log-format", env = "LOG_FORMAT", id = "LOG_FORMAT", value_enum,
          default_value_t = LogFormat::Text)]
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Text,
}

/// Where the service runs.
#[derive(Debug, Clone, Copy, Args)]
pub struct EnvironmentConfig {
    /// With `production`, default credentials are refused
    #[arg(long = "environment", env = "ENVIRONMENT", id = "ENVIRONMENT", value_enum,
          default_value_t = Environment::Development)]
    pub environment: Environment,
}

impl HostConfig {
    /// A configuration for a service inside this process, on free ports of 127.0.0.1; everything
    /// else as if the environment were empty.
    #[must_use]
    pub fn local(
        database_url: impl Into<String>,
        amqp_url: impl Into<String>,
        jwks_url: impl Into<String>,
    ) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            database: DatabaseConfig {
                url: SecretString::from(database_url.into()),
                max_connections: 8,
            },
            broker: BrokerConfig {
                url: SecretString::from(amqp_url.into()),
            },
            http: HttpConfig {
                addr: any_port,
                metrics_addr: any_port,
            },
            tokens: TokenConfig {
                jwks_url: jwks_url.into(),
            },
            log: LogConfig {
                filter: "warn".to_owned(),
                format: LogFormat::Text,
            },
            runs_in: EnvironmentConfig {
                environment: Environment::Development,
            },
        }
    }

    /// Refuses in production what everybody knows.
    ///
    /// # Errors
    ///
    /// Names the variable with a default credential.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.runs_in.environment == Environment::Production {
            self.database.check_production()?;
            environment::refuse_guest("AMQP_URL", &self.broker.url)?;
        }
        Ok(())
    }
}

impl DatabaseConfig {
    pub(crate) fn check_production(&self) -> Result<(), ConfigError> {
        environment::refuse_password_like_user("DATABASE_URL", &self.url)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Production => "production",
        })
    }
}

/// The settings of a service that has none of its own.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct NoSettings {}

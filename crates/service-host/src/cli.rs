//! The command line of a service.

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{DatabaseConfig, EnvironmentConfig, HostConfig, LogConfig};
use crate::service::Service;

/// What a service was asked to do.
pub(crate) enum Action<S: Service> {
    Serve(Box<HostConfig>, S::Settings),
    Migrate(MigrateConfig),
    Healthcheck(SocketAddr),
    OpenApi,
    /// The settings decide what is handled.
    AsyncApi(S::Settings),
}

/// What migrating needs to know.
#[derive(Debug, Clone, Args)]
pub(crate) struct MigrateConfig {
    #[command(flatten)]
    pub(crate) database: DatabaseConfig,
    #[command(flatten)]
    pub(crate) log: LogConfig,
    #[command(flatten)]
    pub(crate) runs_in: EnvironmentConfig,
}

/// Reads the command line and the environment.
///
/// # Errors
///
/// What clap says; see [`explain`].
pub(crate) fn parse<S: Service>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Action<S>, clap::Error> {
    let matches = command::<S>().try_get_matches_from(arguments)?;
    match matches.subcommand() {
        Some(("migrate", matches)) => MigrateConfig::from_arg_matches(matches).map(Action::Migrate),
        Some(("healthcheck", matches)) => Ok(Action::Healthcheck(
            matches
                .get_one("HTTP_ADDR")
                .copied()
                .unwrap_or_else(default_addr::<S>),
        )),
        Some(("openapi", _)) => Ok(Action::OpenApi),
        Some(("asyncapi", matches)) => S::Settings::from_arg_matches(matches).map(Action::AsyncApi),
        Some((_, matches)) => serve(matches),
        None => serve(&matches),
    }
}

fn serve<S: Service>(matches: &ArgMatches) -> Result<Action<S>, clap::Error> {
    let config = HostConfig::from_arg_matches(matches)?;
    let settings = S::Settings::from_arg_matches(matches)?;
    Ok(Action::Serve(Box::new(config), settings))
}

pub(crate) fn command<S: Service>() -> Command {
    // What describes a command comes last: adding arguments brings the description of their struct.
    let migrate = MigrateConfig::augment_args(Command::new("migrate"))
        .about("Brings the schema up to date, waiting for the database up to 120 s, and ends");
    let healthcheck = Command::new("healthcheck")
        .about("Asks the running service whether it is ready; exit status 0 or 1")
        .arg(http_addr::<S>(
            Arg::new("HTTP_ADDR")
                .long("http-addr")
                .env("HTTP_ADDR")
                .help("Address and port of the API")
                .value_parser(clap::value_parser!(SocketAddr)),
        ));
    let asyncapi =
        S::Settings::augment_args(Command::new("asyncapi")).about("Prints the AsyncAPI document");
    let serve = with_serve_variables::<S>(Command::new("serve"))
        .about("Runs the service; what happens without a command");
    // Without a command the service runs, so the variables of `serve` are known on both levels.
    with_serve_variables::<S>(Command::new(S::NAME))
        .about(S::ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(migrate)
        .subcommand(healthcheck)
        .subcommand(Command::new("openapi").about("Prints the OpenAPI document"))
        .subcommand(asyncapi)
}

fn with_serve_variables<S: Service>(command: Command) -> Command {
    let command = HostConfig::augment_args(command)
        .mut_arg("HTTP_ADDR", http_addr::<S>)
        .mut_arg("METRICS_ADDR", |arg| {
            let port = S::HTTP_PORT + 1000;
            arg.required(false)
                .default_value(SocketAddr::from(([127, 0, 0, 1], port)).to_string())
        });
    S::Settings::augment_args(command)
}

fn http_addr<S: Service>(arg: Arg) -> Arg {
    arg.required(false)
        .default_value(default_addr::<S>().to_string())
}

fn default_addr<S: Service>() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], S::HTTP_PORT))
}

/// One line that names the variable, for an error that is about one.
///
/// The wrong value is not repeated: it may be a secret.
pub(crate) fn explain<S: Service>(error: &clap::Error) -> Option<String> {
    let argument = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(argument) => argument.clone(),
        ContextValue::Strings(arguments) => arguments.first()?.clone(),
        _ => return None,
    };
    let flag = argument.split_whitespace().next()?;
    let command = command::<S>();
    let variable = command
        .get_arguments()
        .find(|known| known.get_long() == flag.strip_prefix("--"))?
        .get_env()?
        .to_string_lossy();
    match error.kind() {
        ErrorKind::MissingRequiredArgument => Some(format!("{variable}: is not set")),
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error)?;
            Some(format!("{variable}: {reason}"))
        }
        ErrorKind::InvalidValue => {
            let known = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) => values.join(", "),
                _ => return Some(format!("{variable}: needs a value")),
            };
            Some(format!("{variable}: must be one of {known}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use event_bus::EventBusBuilder;
    use sqlx::migrate::Migrator;
    use utoipa_axum::router::OpenApiRouter;

    use super::*;
    use crate::app::App;
    use crate::config::NoSettings;

    static NO_MIGRATIONS: Migrator = Migrator::DEFAULT;

    struct Silent;

    impl Service for Silent {
        const NAME: &'static str = "silent";
        const ABOUT: &'static str = "Does nothing.";
        const HTTP_PORT: u16 = 8098;
        type Settings = NoSettings;
        type State = ();

        fn migrator() -> &'static Migrator {
            &NO_MIGRATIONS
        }

        fn handlers(bus: EventBusBuilder, _settings: &NoSettings) -> EventBusBuilder {
            bus
        }

        fn routes() -> OpenApiRouter<App<Self>> {
            OpenApiRouter::new()
        }
    }

    const DATABASE: &str = "--database-url=postgres://silent:hidden@db/waybill";
    const BROKER: &str = "--amqp-url=amqp://silent:hidden@mq";

    fn parsed(arguments: &[&str]) -> Result<Action<Silent>, clap::Error> {
        let arguments = [&["silent"], arguments].concat();
        parse(arguments.into_iter().map(OsString::from))
    }

    fn refusal(arguments: &[&str]) -> String {
        let error = parsed(arguments).err().expect("must be refused");
        explain::<Silent>(&error).expect("must be explained")
    }

    #[test]
    fn without_a_command_it_serves_on_its_own_ports() {
        for arguments in [&[DATABASE, BROKER][..], &["serve", DATABASE, BROKER]] {
            let Ok(Action::Serve(config, _)) = parsed(arguments) else {
                panic!("{arguments:?} must serve");
            };
            assert_eq!(config.http.addr.to_string(), "127.0.0.1:8098");
            assert_eq!(config.http.metrics_addr.to_string(), "127.0.0.1:9098");
        }
    }

    #[test]
    fn other_commands_need_no_more_than_they_use() {
        assert!(matches!(parsed(&["openapi"]), Ok(Action::OpenApi)));
        assert!(matches!(parsed(&["asyncapi"]), Ok(Action::AsyncApi(_))));
        assert!(matches!(
            parsed(&["migrate", DATABASE]),
            Ok(Action::Migrate(_))
        ));
        let Ok(Action::Healthcheck(address)) = parsed(&["healthcheck"]) else {
            panic!("must check the health");
        };
        assert_eq!(address.to_string(), "127.0.0.1:8098");
    }

    #[test]
    fn a_wrong_value_is_one_line_that_names_the_variable_and_keeps_the_value() {
        let cases = [
            ("--http-addr=nowhere", "HTTP_ADDR: "),
            ("--database-max-connections=0", "DATABASE_MAX_CONNECTIONS: "),
            (
                "--environment=staging",
                "ENVIRONMENT: must be one of development, production",
            ),
            ("--rust-log=a=b=c", "RUST_LOG: "),
            ("--identity-jwks-url=ftp://s3cret", "IDENTITY_JWKS_URL: "),
        ];
        for (argument, expected) in cases {
            let line = refusal(&[DATABASE, BROKER, argument]);
            assert!(line.starts_with(expected) && !line.contains('\n'), "{line}");
        }
        let line = refusal(&["--database-url=mysql://s3cret", BROKER]);
        assert!(
            line.starts_with("DATABASE_URL: ") && !line.contains("s3cret"),
            "{line}"
        );
        let line = refusal(&["serve", DATABASE, "--amqp-url=http://s3cret"]);
        assert!(
            line.starts_with("AMQP_URL: ") && !line.contains("s3cret"),
            "{line}"
        );
    }

    #[test]
    fn a_missing_variable_is_named() {
        assert_eq!(refusal(&["serve", BROKER]), "DATABASE_URL: is not set");
        assert_eq!(refusal(&["migrate"]), "DATABASE_URL: is not set");
    }

    #[test]
    fn every_variable_is_in_the_help() {
        let help = command::<Silent>().render_long_help().to_string();
        for variable in [
            "DATABASE_URL",
            "DATABASE_MAX_CONNECTIONS",
            "AMQP_URL",
            "HTTP_ADDR",
            "METRICS_ADDR",
            "IDENTITY_JWKS_URL",
            "RUST_LOG",
            "LOG_FORMAT",
            "ENVIRONMENT",
        ] {
            assert!(
                help.contains(&format!("[env: {variable}")),
                "{variable}: {help}"
            );
        }
    }
}

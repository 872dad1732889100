//! The program of a service: reads the command line, does what it says, and answers with an exit
//! status.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{self, Action};
use crate::config::{Environment, HostConfig};
use crate::service::Service;
use crate::{asyncapi, healthcheck, migrate, openapi, server, telemetry};

/// Wrong configuration, as opposed to something that went wrong later.
const BAD_CONFIG: u8 = 2;

/// The whole `main` of a service.
///
/// Exit status 0: done. 1: failed. 2: a variable or argument is wrong, and one line on standard
/// error says which.
#[must_use]
pub fn main<S: Service>() -> ExitCode {
    let action = match cli::parse::<S>(std::env::args_os()) {
        Ok(action) => action,
        Err(error) => match cli::explain::<S>(&error) {
            Some(line) => return complain::<S>(&line, BAD_CONFIG),
            None => error.exit(),
        },
    };
    match run::<S>(action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) => complain::<S>(&error.to_string(), BAD_CONFIG),
        Err(Failure::Run(error)) => complain::<S>(&format!("{error:#}"), 1),
    }
}

fn complain<S: Service>(line: &str, status: u8) -> ExitCode {
    // If standard error is closed, the exit status is all that can be said.
    let _ = writeln!(io::stderr(), "{}: {line}", S::NAME);
    ExitCode::from(status)
}

enum Failure {
    Config(crate::config::ConfigError),
    Run(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast() {
            Ok(error) => Self::Config(error),
            Err(error) => Self::Run(error),
        }
    }
}

fn run<S: Service>(action: Action<S>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    match action {
        Action::Serve(config, settings) => runtime.block_on(serve::<S>(*config, settings))?,
        Action::Migrate(config) => {
            telemetry::install(S::NAME, &config.log);
            if config.runs_in.environment == Environment::Production {
                config
                    .database
                    .check_production()
                    .map_err(Failure::Config)?;
            }
            runtime.block_on(migrate::run::<S>(&config))?;
        }
        Action::Healthcheck(address) => runtime.block_on(healthcheck::run(address))?,
        Action::OpenApi => {
            let (_, document) = openapi::describe::<S>();
            let json = document
                .to_pretty_json()
                .context("the document has no JSON")?;
            print(&json)?;
        }
        Action::AsyncApi(settings) => {
            let _runtime = runtime.enter();
            print(&format!("{:#}", asyncapi::describe::<S>(&settings)))?;
        }
    }
    Ok(())
}

fn print(document: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{document}").context("standard output is closed")
}

async fn serve<S: Service>(config: HostConfig, settings: S::Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = server::start::<S>(config, settings)
        .await
        .map_err(|error| match error {
            server::StartError::Config(error) => anyhow::Error::new(error),
            other => anyhow::Error::new(other),
        })?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    Ok(())
}

//! Measures Waybill against the limits of its database and its broker, in the same run on the same
//! machine: ratios are meaningful across machines, absolute figures are not.
//!
//! `make bench` starts the servers and measures all rows; `make bench ROW=relay` measures one row.
//! `docs/PERFORMANCE.md` lists the goals and explains how to read the table.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

mod limits;
mod load;
mod participants;
mod report;
mod rows;
mod shop;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum as _};

use crate::limits::Limits;
use crate::participants::Participation;
use crate::report::Report;
use crate::rows::Row;

/// Number of clients in the rows with many clients.
pub(crate) const CONNECTIONS: usize = 64;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Waybill on the servers that the environment names (see scripts/bench).
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Rows to measure; by default all rows that have a goal
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// Folder for results.json and results.svg
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a participant in the rows of the bus; started by the bench itself
    #[command(hide = true)]
    Participate(Participation),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(Command::Participate(participation)) = arguments.command {
        return participants::run(participation).await;
    }
    let rows = match arguments.rows {
        rows if rows.is_empty() => Row::TABLE.to_vec(),
        rows => rows,
    };
    let limits = Limits::default();
    let mut report = Report::default();
    for row in rows {
        let started = Instant::now();
        let name = row.to_possible_value();
        let name = name.as_ref().map_or("", |name| name.get_name());
        eprintln!("measuring {name} …");
        let figures = row.measure(&limits).await?;
        for figure in &figures {
            eprintln!("  {figure}");
        }
        report.figures.extend(figures);
        eprintln!(
            "measured {name} in {:.0} s",
            started.elapsed().as_secs_f64()
        );
    }
    print!("{}", report.table());
    report.save(&arguments.out)?;
    println!("\nwritten to {}", arguments.out.display());
    Ok(())
}

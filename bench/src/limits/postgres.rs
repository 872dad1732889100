//! The limits of PostgreSQL: pgbench with the minimal statements of an order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use tokio::process::Command;

use crate::load::histogram;

/// `BEGIN`, a row of state, a message, `COMMIT`.
const TWO_INSERTS: &str = include_str!("../../sql/two_inserts.sql");
pub(super) const TABLES: &str = include_str!("../../sql/tables.sql");

/// Transactions per second of a client that pauses in between.
const RESTED_PER_SECOND: u32 = 20;

/// The results of pgbench.
#[derive(Debug)]
pub(crate) struct Transactions {
    pub(crate) per_second: f64,
    /// In microseconds.
    pub(crate) latency: Histogram<u64>,
}

/// The pace of transactions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// This many clients. Each starts a transaction as soon as its last one has ended.
    Unpaced(usize),
    /// One client at a fixed rate, about that of a client that pauses in between.
    Rested,
}

/// Runs the two inserts as prepared statements.
///
/// # Errors
///
/// If pgbench can't be started or fails.
pub(super) async fn two_inserts(
    database: &str,
    pace: Pace,
    duration: Duration,
) -> anyhow::Result<Transactions> {
    let folder = Folder::create()?;
    let script = folder.0.join("two_inserts.sql");
    std::fs::write(&script, TWO_INSERTS)?;
    let pgbench = std::env::var_os("PGBENCH").unwrap_or_else(|| "pgbench".into());
    let mut command = Command::new(pgbench);
    match pace {
        Pace::Unpaced(clients) => command
            .arg(format!("--client={clients}"))
            .arg(format!("--jobs={}", clients.min(2))),
        Pace::Rested => command.arg(format!("--rate={RESTED_PER_SECOND}")),
    };
    let output = command
        .args(["--no-vacuum", "--protocol=prepared", "--log"])
        .arg(format!("--file={}", script.display()))
        .arg(format!("--log-prefix={}", folder.0.join("log").display()))
        .arg(format!("--time={}", duration.as_secs()))
        .arg(database)
        .output()
        .await
        .context("failed to start pgbench")?;
    if !output.status.success() {
        bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
    }
    let latency = folder.latencies()?;
    Ok(Transactions {
        per_second: latency.len() as f64 / duration.as_secs_f64(),
        latency,
    })
}

/// A folder for pgbench's logs, deleted on drop.
struct Folder(PathBuf);

impl Folder {
    fn create() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("waybill-bench.{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// The durations of all transactions in all logs, in microseconds.
    fn latencies(&self) -> anyhow::Result<Histogram<u64>> {
        let mut latency = histogram();
        for file in std::fs::read_dir(&self.0)? {
            let path = file?.path();
            if is_log(&path) {
                for line in std::fs::read_to_string(&path)?.lines() {
                    latency.saturating_record(micros(line)?);
                }
            }
        }
        Ok(latency)
    }
}

/// The duration of the transaction in a line of a log, from its start, in microseconds.
///
/// The third column is the time since the transaction was due. With a rate, the seventh column is
/// the delay between that time and the start.
fn micros(line: &str) -> anyhow::Result<u64> {
    let mut columns = line.split(' ').skip(2);
    let since_due: u64 = columns
        .next()
        .context("a line of pgbench's log is too short")?
        .parse()?;
    let late = columns.nth(3).map_or(Ok(0), str::parse)?;
    Ok(since_due.saturating_sub(late))
}

fn is_log(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("log."))
}

impl Drop for Folder {
    fn drop(&mut self) {
        // An error is harmless: the folder is in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

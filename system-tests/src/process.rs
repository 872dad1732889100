//! A service as a process.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Api, binaries};

/// The three services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Products and stock.
    Catalog,
    /// Orders.
    Ordering,
    /// Users and tokens.
    Identity,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Catalog, Self::Ordering, Self::Identity];

    /// As its program, role and schema are called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Ordering => "ordering",
            Self::Identity => "identity",
        }
    }
}

/// A service on ports of its own, which it keeps when it is started again.
#[derive(Debug)]
pub struct ServiceProcess {
    name: Name,
    port: u16,
    metrics_port: u16,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl ServiceProcess {
    /// A service that is not running yet.
    pub(crate) fn new(name: Name, log_folder: &std::path::Path) -> Self {
        let [port, metrics_port] = free_ports();
        Self {
            name,
            port,
            metrics_port,
            environment: Vec::new(),
            log: log_folder.join(format!("{}-{port}.log", name.as_str())),
            child: None,
        }
    }

    /// One of the same service and configuration on ports of its own, not running yet.
    pub(crate) fn another(&self) -> Self {
        let logs = self.log.parent().expect("a log is in a folder");
        let mut another = Self::new(self.name, logs);
        another.set_environment(self.environment.clone());
        another
    }

    pub(crate) fn set_environment(&mut self, environment: Vec<(&'static str, String)>) {
        self.environment = environment;
    }

    /// Where it listens.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client of its API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.base_url())
    }

    /// What a metric says, summed over its series that have all these labels, each as
    /// `name="value"`; 0 if there is none.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let api = Api::new(format!("http://127.0.0.1:{}", self.metrics_port));
        let text = api.text("/metrics").await;
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Migrates its schema and waits for that.
    pub(crate) fn migrate(&self) {
        let status = self.command("migrate").status().expect("it can be run");
        assert!(status.success(), "{} migrate failed", self.name.as_str());
    }

    /// Starts it, and does not wait for it to be ready.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it is running already");
        self.child = Some(self.command("serve").spawn().expect("it can be run"));
    }

    /// The id of its process, if it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Waits until it is ready or, which is as good for its users, degraded.
    pub async fn wait_until_ready(&self, within: Duration) {
        let api = self.api();
        test_servers::eventually(self.name.as_str(), within, async || {
            (api.get("/health/ready").await.status == 200).then_some(())
        })
        .await;
    }

    /// Ends it as an operator would, and waits until it has finished.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let id = child.id().to_string();
            let status = Command::new("kill").args(["-TERM", &id]).status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "it is gone already"
            );
            let ended = child.wait().expect("it can be waited for");
            assert!(ended.success(), "{} ended with {ended}", self.name.as_str());
        }
    }

    /// Ends it as a crash would: `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it was running");
            child.wait().expect("it can be waited for");
        }
    }

    fn command(&self, verb: &str) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file");
        let mut command = Command::new(binaries::folder().join(self.name.as_str()));
        command
            .arg(verb)
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .env("HTTP_ADDR", format!("127.0.0.1:{}", self.port))
            .env("METRICS_ADDR", format!("127.0.0.1:{}", self.metrics_port))
            .env("LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log);
        command
    }
}

/// Free now, and nobody else asks for these before the service has them.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("it has an address").port())
}

impl Drop for ServiceProcess {
    #[expect(
        clippy::print_stderr,
        reason = "a failed test shows what the services said"
    )]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // If it has ended by itself there is nothing left to end.
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(30);
            eprintln!(
                "--- the last of {}:\n{}",
                self.name.as_str(),
                lines[last..].join("\n")
            );
        } else {
            let _ = fs::remove_file(&self.log);
        }
    }
}

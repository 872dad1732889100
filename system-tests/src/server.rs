//! Servers that a test may stop, by the same script as everything else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A PostgreSQL or RabbitMQ of the test's own. It keeps its data and ports when it is started
/// again, and goes with the test.
#[derive(Debug)]
pub struct PrivateServer {
    kind: &'static str,
    folder: PathBuf,
}

impl PrivateServer {
    /// A RabbitMQ that is not running yet.
    #[must_use]
    pub fn rabbitmq() -> Self {
        Self::new("rabbitmq")
    }

    /// A PostgreSQL that is not running yet.
    #[must_use]
    pub fn postgres() -> Self {
        Self::new("postgres")
    }

    fn new(kind: &'static str) -> Self {
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let unique = format!("system-test.{}.{number}.{kind}", std::process::id());
        let folder = root().join(".servers").join(unique);
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        Self { kind, folder }
    }

    /// Starts it, and returns the value of the variable that says where it is: `POSTGRES_URL` or
    /// `AMQP_URL`.
    #[must_use]
    pub fn start(&self) -> String {
        let (verb, variable) = match self.kind {
            "postgres" => ("start-postgres", "POSTGRES_URL"),
            _ => ("start-rabbitmq", "AMQP_URL"),
        };
        let owner = std::process::id().to_string();
        let output = self
            .script(verb)
            .args(["--until-exit-of", &owner])
            .output()
            .expect("the script can be run");
        assert!(
            output.status.success(),
            "{} did not start: {}",
            self.kind,
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8_lossy(&output.stdout);
        said.lines()
            .find_map(|line| line.strip_prefix(variable)?.strip_prefix('='))
            .expect("it says where it is")
            .to_owned()
    }

    /// Ends it in an orderly way; its data and ports stay.
    pub fn stop(&self) {
        let status = self.script("stop").status().expect("the script can be run");
        assert!(status.success(), "{} did not stop", self.kind);
    }

    fn script(&self, verb: &str) -> Command {
        let mut command = Command::new(root().join("scripts/servers"));
        command.arg(verb).arg(&self.folder);
        command
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // What is left when this fails goes with the test process, which it watches.
        let _ = self.script("remove").status();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

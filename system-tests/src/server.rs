//! Servers that a test may stop or kill, by the same script as everything else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A PostgreSQL or RabbitMQ of the test's own. It keeps its data and ports when it is started
/// again, and goes with the test.
#[derive(Debug)]
pub struct PrivateServer {
    kind: &'static str,
    folder: PathBuf,
    /// The folder of a node whose cluster this one belongs to.
    joined: Option<PathBuf>,
}

impl PrivateServer {
    /// A RabbitMQ that is not running yet.
    #[must_use]
    pub fn rabbitmq() -> Self {
        Self::new("rabbitmq")
    }

    /// A RabbitMQ that is not running yet, and will be one more node of this one's cluster.
    pub(crate) fn joining(other: &Self) -> Self {
        let mut server = Self::rabbitmq();
        server.joined = Some(other.folder.clone());
        server
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
        Self {
            kind,
            folder,
            joined: None,
        }
    }

    /// Starts it, and returns the value of the variable that says where it is: `POSTGRES_URL` or
    /// `AMQP_URL`.
    #[must_use]
    pub fn start(&self) -> String {
        let variable = match self.kind {
            "postgres" => "POSTGRES_URL",
            _ => "AMQP_URL",
        };
        value(&self.run(), variable)
    }

    /// Starts a RabbitMQ, and returns where it is and where its management API.
    pub(crate) fn start_node(&self) -> (String, String) {
        let said = self.run();
        (
            value(&said, "AMQP_URL"),
            value(&said, "RABBITMQ_MANAGEMENT_URL"),
        )
    }

    /// Starts it, and returns what the script says.
    fn run(&self) -> String {
        let owner = std::process::id().to_string();
        let mut script = self.script(&format!("start-{}", self.kind));
        if let Some(joined) = &self.joined {
            script.arg("--join").arg(joined);
        }
        let output = script
            .args(["--until-exit-of", &owner])
            .output()
            .expect("the script can be run");
        assert!(
            output.status.success(),
            "{} did not start: {}",
            self.kind,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("it says text")
    }

    /// Ends it in an orderly way; its data and ports stay.
    pub fn stop(&self) {
        let status = self.script("stop").status().expect("the script can be run");
        assert!(status.success(), "{} did not stop", self.kind);
    }

    /// Ends it as a crash would: `kill -9`.
    pub fn kill(&self) {
        let status = self.script("kill").status().expect("the script can be run");
        assert!(status.success(), "{} was not killed", self.kind);
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

fn value(said: &str, variable: &str) -> String {
    said.lines()
        .find_map(|line| line.strip_prefix(variable)?.strip_prefix('='))
        .expect("it says where it is")
        .to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

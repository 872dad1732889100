//! Virtual hosts that tests have left behind.
//!
//! A virtual host is not deleted when its test ends: RabbitMQ 3.10 starts a process for the dead
//! letters of a quorum queue when the queue gets a leader, and if the queue goes in that moment, the
//! failing restarts of that process take the supervisor of all its kind along. Then no queue that
//! keeps its dead letters safe works any more, in whichever virtual host. So what is deleted has
//! been quiet for a while.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use uuid::Uuid;

use crate::management::Management;

const PREFIX: &str = "test-";
/// A test may make its queues as late as this after its virtual host.
const QUIET: Duration = Duration::from_secs(120);

#[derive(Debug, Deserialize)]
struct VirtualHost {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Connection {
    vhost: String,
}

/// A name that tells when it was made.
pub(crate) fn fresh_name() -> String {
    format!("{PREFIX}{}", Uuid::now_v7().simple())
}

/// Deletes what was made some time ago and has no connection any more. Several processes may do so
/// at the same time.
pub(crate) async fn delete(management: &Management) {
    let all: Vec<VirtualHost> = management.get(&["vhosts"], "columns=name").await;
    let mut old: Vec<String> = all.into_iter().map(|vhost| vhost.name).collect();
    old.retain(|name| is_old(name));
    if old.is_empty() {
        return;
    }
    let connections: Vec<Connection> = management.get(&["connections"], "columns=vhost").await;
    let used: HashSet<String> = connections.into_iter().map(|c| c.vhost).collect();
    for name in old.iter().filter(|name| !used.contains(*name)) {
        management.delete_if_there(&["vhosts", name]).await;
        management.delete_if_there(&["users", name]).await;
    }
}

fn is_old(name: &str) -> bool {
    let made = name
        .strip_prefix(PREFIX)
        .and_then(|id| Uuid::parse_str(id).ok())
        .and_then(|id| id.get_timestamp());
    let Some(made) = made else {
        return false;
    };
    let (seconds, nanoseconds) = made.to_unix();
    let made = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    made.elapsed().is_ok_and(|age| age > QUIET)
}

//! Clients of the bus while a node of the broker is killed.

use std::sync::Arc;
use std::time::Duration;

use event_bus::transport::{RabbitMq, ReplyOutcome, Settlement, Transport as _};
use event_bus::{Envelope, GetSnapshotPage, Lineage};
use event_contracts::catalog::{ProductEto, ReleaseStock};
use system_tests::Cluster;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use uuid::Uuid;

use crate::FAILOVER;

/// Between two clients, and between two tries of one.
const STEP: Duration = Duration::from_millis(50);
/// How many clients still come when the node is gone.
const LATE: usize = 10;

/// Kills a node while one client after the other connects, publishes and asks for the first time, so
/// that some do in the moment in which queues have no leader. Each tells whether its message was
/// confirmed and its query answered in the end.
pub(crate) async fn use_while_killing(cluster: &Arc<Cluster>, node: usize) -> JoinSet<bool> {
    let mut clients = JoinSet::new();
    let victim = cluster.clone();
    let killing = tokio::task::spawn_blocking(move || victim.kill(node));
    let mut ticks = interval(STEP);
    let mut late = 0;
    while late < LATE {
        ticks.tick().await;
        clients.spawn(use_once(cluster.addresses()));
        late += usize::from(killing.is_finished());
    }
    killing.await.expect("it was killed");
    clients
}

async fn use_once(addresses: String) -> bool {
    let client = RabbitMq::new(&addresses).expect("addresses");
    let using = async { tokio::join!(publish(&client), ask(&client)) };
    let done = timeout(FAILOVER, using).await.is_ok();
    client.close().await;
    done
}

/// Publishes a message for catalog's queue that changes nothing, until it is confirmed.
async fn publish(client: &RabbitMq) {
    let nothing = ReleaseStock {
        order_id: Uuid::now_v7(),
    };
    let message = Envelope::encode("tester", Lineage::begin(), &nothing).expect("it is JSON");
    let mut ticks = interval(STEP);
    loop {
        ticks.tick().await;
        let settled = client.publish(vec![message.clone()]).await.await;
        if settled == [Settlement::Confirmed] {
            return;
        }
    }
}

/// Asks catalog over the bus, until it answers.
async fn ask(client: &RabbitMq) {
    let query = GetSnapshotPage::<ProductEto>::after(None);
    let mut ticks = interval(STEP);
    loop {
        ticks.tick().await;
        let query = Envelope::encode("tester", Lineage::begin(), &query).expect("it is JSON");
        let reply = client.request(query, Duration::from_secs(2)).await;
        if reply.is_ok_and(|reply| reply.outcome == ReplyOutcome::Answered) {
            return;
        }
    }
}

/// That catalog answers a client that was there before.
pub(crate) async fn expect_answer(client: &RabbitMq) {
    let answered = timeout(FAILOVER, ask(client)).await;
    answered.expect("catalog answers");
}

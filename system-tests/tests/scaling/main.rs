//! Several instances of each service on a cluster of brokers: the same results as with one of each,
//! whichever node is killed.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

mod failover;
mod scenario;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use event_bus::transport::RabbitMq;
use system_tests::{Cluster, Load, Name, System};
use test_servers::eventually;

const BOUND: Duration = Duration::from_secs(60);

/// Forty orders a second: a node that comes back needs its share of the same two cores.
const PACE: Duration = Duration::from_millis(200);

/// How long orders may stay undecided after a node was killed. It is a second or two, unless a
/// message was on its way to a queue that had no leader: the broker keeps that for ten.
const FAILOVER: Duration = Duration::from_secs(30);

const REPLICAS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_each_on_a_cluster_do_what_one_of_each_does() {
    // The nodes take their time, so the others do their part meanwhile.
    let starting = tokio::task::spawn_blocking(Cluster::start);
    let alone = scenario::play(&System::start().await).await;
    let cluster = starting.await.expect("the nodes have started");

    let system = System::start_replicas(REPLICAS, &cluster.addresses()).await;
    let together = scenario::play(&system).await;
    assert_eq!(together, alone);
    assert_eq!(alone, scenario::expected());

    expect_copies_on_all_nodes(&cluster).await;
    expect_shared_work(&system, &cluster).await;
}

/// Every queue that holds messages is kept by every node.
async fn expect_copies_on_all_nodes(cluster: &Cluster) {
    let queues = cluster.quorum_queues().await;
    for name in ["catalog", "ordering", "ordering.products"] {
        assert!(queues.iter().any(|queue| queue.name == name), "{queues:?}");
    }
    for queue in queues {
        let copies = (queue.members, queue.online);
        assert_eq!(copies, (cluster.size(), cluster.size()), "{queue:?}");
    }
}

/// Every instance has handled messages, while one of each service has published them all.
async fn expect_shared_work(system: &System, cluster: &Cluster) {
    for name in [Name::Catalog, Name::Ordering] {
        let group = format!("messaging_consumer_group_name=\"{}\"", name.as_str());
        for (number, replica) in system.replicas(name).iter().enumerate() {
            let consumed = "messaging_client_consumed_messages";
            let consumed = replica.metric(consumed, &[&group]).await;
            assert!(consumed > 0.0, "{name:?} {number} has handled nothing");
        }
    }
    for name in Name::ALL {
        eventually("one instance leads the relay", BOUND, async || {
            let mut leading = 0.0;
            for replica in system.replicas(name) {
                leading += replica.metric("event_bus_relay_leading", &[]).await;
            }
            (leading == 1.0).then_some(())
        })
        .await;
    }
    let nodes = eventually("connections are counted", BOUND, async || {
        let nodes = cluster.connections().await;
        // One to publish and one to consume, of each instance.
        (nodes.len() == 2 * REPLICAS * Name::ALL.len()).then_some(nodes)
    })
    .await;
    let used: BTreeSet<&String> = nodes.iter().collect();
    assert!(used.len() > 1, "all clients are on one node: {nodes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_node_of_the_cluster_under_load_loses_nothing_and_doubles_nothing() {
    let cluster = tokio::task::spawn_blocking(Cluster::start);
    let cluster = Arc::new(cluster.await.expect("the nodes have started"));
    let system = System::start_replicas(REPLICAS, &cluster.addresses()).await;
    let asker = RabbitMq::new(&cluster.addresses()).expect("addresses");
    failover::expect_answer(&asker).await;
    let load = Load::start(&system, PACE).await;
    load.goes_on(&system).await;

    let node = cluster.leader_of("catalog").await;
    let clients = failover::use_while_killing(&cluster, node).await;
    // Taken without the broker, and decided as soon as messages flow again.
    let placed = system.order(load.product()).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let id = placed.body["id"].as_str().expect("an id");
    system.expect_state(id, "confirmed", FAILOVER).await;
    failover::expect_answer(&asker).await;
    for served in clients.join_all().await {
        assert!(served, "one of them got nowhere for {FAILOVER:?}");
    }

    let restarted = cluster.clone();
    let starting = tokio::task::spawn_blocking(move || restarted.start_again(node));
    starting.await.expect("it has started");
    eventually("the node has its copies again", BOUND, async || {
        let queues = cluster.quorum_queues().await;
        let complete = queues.iter().all(|queue| queue.online == cluster.size());
        (complete && !queues.is_empty()).then_some(())
    })
    .await;
    load.goes_on(&system).await;
    load.finish(&system).await;
}

//! Several brokers that are one.

use std::thread;

use serde_json::Value;

use crate::{Answer, Api, PrivateServer};

/// A RabbitMQ cluster of the test's own: three nodes on this machine, on loopback.
#[derive(Debug)]
pub struct Cluster(Vec<Node>);

#[derive(Debug)]
struct Node {
    server: PrivateServer,
    address: String,
    management: String,
}

/// A quorum queue, as the management API last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumQueue {
    /// Its name.
    pub name: String,
    /// How many nodes it is kept by.
    pub members: usize,
    /// How many of these are there.
    pub online: usize,
    /// How many consumers it has.
    pub consumers: u64,
    /// How many messages it holds.
    pub messages: u64,
}

impl Cluster {
    /// Starts the nodes and waits until they have found each other.
    #[must_use]
    pub fn start() -> Self {
        let first = PrivateServer::rabbitmq();
        let others = [(); 2].map(|()| PrivateServer::joining(&first));
        // The others need the first one, and not each other.
        let first = Node::start(first);
        let others = others.map(|server| thread::spawn(|| Node::start(server)));
        let others = others.map(|starting| starting.join().expect("a node has started"));
        Self([first].into_iter().chain(others).collect())
    }

    /// The addresses of all nodes, as a service is told them.
    #[must_use]
    pub fn addresses(&self) -> String {
        let addresses: Vec<&str> = self.0.iter().map(|node| node.address.as_str()).collect();
        addresses.join(",")
    }

    /// How many nodes there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Ends a node as a crash would: `kill -9`.
    pub fn kill(&self, node: usize) {
        self.0[node].server.kill();
    }

    /// Starts a node that was killed, with its data and at its address.
    pub fn start_again(&self, node: usize) {
        let _ = self.0[node].server.start();
    }

    /// All quorum queues of all virtual hosts, as some node that answers knows them.
    pub async fn quorum_queues(&self) -> Vec<QuorumQueue> {
        let queues = self.list("queues").await;
        let queues = queues.iter().filter(|queue| queue["type"] == "quorum");
        queues.map(QuorumQueue::read).collect()
    }

    /// The node that leads a quorum queue: the others have copies.
    ///
    /// # Panics
    ///
    /// If there is no such queue, or no node leads it.
    pub async fn leader_of(&self, queue: &str) -> usize {
        let queues = self.list("queues").await;
        let queue = queues.iter().find(|found| found["name"] == queue);
        let leader = queue.expect("the queue is there")["leader"].clone();
        for (number, node) in self.0.iter().enumerate() {
            if node.get("overview").await.body["node"] == leader {
                return number;
            }
        }
        panic!("{leader} is no node of the cluster")
    }

    /// For each client's connection the node that it goes to.
    pub async fn connections(&self) -> Vec<String> {
        let connections = self.list("connections").await;
        let nodes = connections.iter().filter_map(|c| c["node"].as_str());
        nodes.map(str::to_owned).collect()
    }

    async fn list(&self, what: &str) -> Vec<Value> {
        for node in &self.0 {
            let answer = node.get(what).await;
            if answer.status == 200 {
                return answer.body.as_array().cloned().unwrap_or_default();
            }
        }
        Vec::new()
    }
}

impl Node {
    fn start(server: PrivateServer) -> Self {
        let (address, management) = server.start_node();
        Self {
            server,
            address,
            management,
        }
    }

    async fn get(&self, what: &str) -> Answer {
        let api = Api::new(self.management.clone());
        api.get(&format!("/api/{what}")).await
    }
}

impl QuorumQueue {
    fn read(queue: &Value) -> Self {
        let count = |nodes: &Value| nodes.as_array().map_or(0, Vec::len);
        Self {
            name: queue["name"].as_str().expect("a name").to_owned(),
            members: count(&queue["members"]),
            online: count(&queue["online"]),
            consumers: queue["consumers"].as_u64().unwrap_or(0),
            messages: queue["messages"].as_u64().unwrap_or(0),
        }
    }
}

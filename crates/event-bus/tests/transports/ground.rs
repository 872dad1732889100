//! Where the suite runs: transports on their own ground, and what a participant does there.

use std::sync::Arc;
use std::time::Duration;

use event_bus::transport::{Binding, Group, Receipt, Settlement, Subscription, Transport};
use event_bus::{Envelope, Event, InMemory, Kind, Lineage, Message, RabbitMq, TraceContext};
use test_servers::TestBroker;
use tokio::time::timeout;
use uuid::Uuid;

pub(crate) const BOUND: Duration = Duration::from_secs(20);
/// How long nothing must come for "nothing comes".
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// A transport on its own ground, and a way for a second participant to join it.
pub(crate) struct Ground {
    broker: Option<TestBroker>,
    memory: InMemory,
}

impl Ground {
    pub(crate) fn participant(&self) -> Arc<dyn Transport> {
        match &self.broker {
            Some(broker) => Arc::new(RabbitMq::new(&broker.url()).expect("a broker's address")),
            None => Arc::new(self.memory.clone()),
        }
    }

    pub(crate) fn broker(&self) -> &TestBroker {
        self.broker.as_ref().expect("a test on RabbitMQ")
    }

    pub(crate) fn in_memory() -> Self {
        Self {
            broker: None,
            memory: InMemory::new(),
        }
    }

    pub(crate) async fn rabbitmq() -> Self {
        Self {
            broker: Some(TestBroker::create().await),
            memory: InMemory::new(),
        }
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Noted {
    number: u32,
}

impl Message for Noted {
    type Kind = Event;
    const NAME: &'static str = "tests.note.noted";
}

pub(crate) fn envelope(name: &str, number: u32) -> Envelope {
    let lineage = Lineage {
        correlation_id: Uuid::now_v7(),
        causation_id: None,
        trace: TraceContext::default(),
    };
    Envelope {
        name: name.to_owned(),
        ..Envelope::encode("tests", lineage, &Noted { number }).expect("it is JSON")
    }
}

pub(crate) fn group(name: &str, patterns: &[&str]) -> Group {
    Group {
        name: name.to_owned(),
        bindings: patterns
            .iter()
            .map(|pattern| Binding {
                kind: Kind::Event,
                pattern: (*pattern).to_owned(),
            })
            .collect(),
        prefetch: 100,
        partition: None,
    }
}

pub(crate) async fn publish(
    transport: &Arc<dyn Transport>,
    messages: Vec<Envelope>,
) -> Vec<Settlement> {
    timeout(BOUND, async { transport.publish(messages).await.await })
        .await
        .expect("the broker settles what it was given")
}

/// Joins a group and waits until it is bound, which a binding of its own shows.
pub(crate) async fn join(transport: &Arc<dyn Transport>, mut group: Group) -> Subscription {
    let probe = format!("probe.{}", group.name);
    group.bindings.push(Binding {
        kind: Kind::Event,
        pattern: probe.clone(),
    });
    let mut subscription = transport.subscribe(group).await;
    test_servers::eventually("the group is bound", BOUND, async || {
        let probe = Envelope {
            mandatory: true,
            ..envelope(&probe, 0)
        };
        (publish(transport, vec![probe]).await == [Settlement::Confirmed]).then_some(())
    })
    .await;
    assert_eq!(take(&mut subscription, 1).await, [0]);
    subscription
}

pub(crate) async fn receive(subscription: &mut Subscription) -> (Arc<Envelope>, Receipt) {
    let delivery = timeout(BOUND, subscription.deliveries.recv())
        .await
        .expect("a message comes")
        .expect("the transport is open");
    (delivery.content.expect("it can be read"), delivery.receipt)
}

pub(crate) fn number(envelope: &Envelope) -> u32 {
    let noted: Noted = serde_json::from_slice(&envelope.body).expect("it is a note");
    noted.number
}

/// Receives and acknowledges so many messages.
pub(crate) async fn take(subscription: &mut Subscription, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let (envelope, receipt) = receive(subscription).await;
        Receipt::acknowledge(&[receipt]).await;
        numbers.push(number(&envelope));
    }
    numbers
}

pub(crate) async fn assert_quiet(subscription: &mut Subscription) {
    let more = timeout(QUIET, subscription.deliveries.recv()).await;
    assert!(more.is_err(), "an unexpected message came: {more:?}");
}

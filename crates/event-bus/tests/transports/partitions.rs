//! Groups in partitions, and groups that end.

use event_bus::transport::{Group, Partition, Settlement, Transport, bucket_of};
use event_bus::{Envelope, RabbitMq};

use crate::conformance;
use crate::ground::{
    BOUND, Ground, assert_quiet, envelope, group, join, number, publish, receive, take,
};

fn partition(index: u16, of: u16) -> Group {
    Group {
        partition: Some(Partition { index, of }),
        ..group("prices", &["a.b"])
    }
}

fn keyed(key: &str, number: u32) -> Envelope {
    Envelope {
        partition_key: Some(key.to_owned()),
        ..envelope("a.b", number)
    }
}

/// A key that belongs to this partition of two.
fn key_of(index: u16) -> String {
    (0..)
        .map(|n| format!("key-{n}"))
        .find(|key| bucket_of(key) % 2 == index)
        .expect("there are keys for each partition")
}

async fn a_key_is_always_in_the_same_partition(ground: Ground) {
    let transport = ground.participant();
    let mut first = join(&transport, partition(0, 2)).await;
    let mut second = transport.subscribe(partition(1, 2)).await;
    let (even, odd) = (key_of(0), key_of(1));
    let messages = (1..=40).map(|n| keyed(if n % 2 == 0 { &even } else { &odd }, n));
    publish(&transport, messages.collect()).await;
    let numbers = |remainder| (1..=40).filter(move |n| n % 2 == remainder);
    assert!(take(&mut first, 20).await.into_iter().eq(numbers(0)));
    assert!(take(&mut second, 20).await.into_iter().eq(numbers(1)));
    assert_quiet(&mut first).await;
    assert_quiet(&mut second).await;
}

async fn messages_without_a_key_are_in_the_first_partition(ground: Ground) {
    let transport = ground.participant();
    let mut first = join(&transport, partition(0, 2)).await;
    let mut second = transport.subscribe(partition(1, 2)).await;
    publish(&transport, (1..=10).map(|n| envelope("a.b", n)).collect()).await;
    assert_eq!(take(&mut first, 10).await, (1..=10).collect::<Vec<_>>());
    assert_quiet(&mut second).await;
}

/// The next member begins with what the last one had and did not acknowledge.
async fn a_partition_is_handed_on_in_order(ground: Ground) {
    let (one, other) = (ground.participant(), ground.participant());
    let mut active = join(&one, partition(0, 1)).await;
    let mut standby = other.subscribe(partition(0, 1)).await;
    standby.bound().cancelled().await;
    publish(&one, (1..=30).map(|n| keyed("key", n)).collect()).await;
    assert_eq!(take(&mut active, 10).await, (1..=10).collect::<Vec<_>>());
    let (envelope, _unanswered) = receive(&mut active).await;
    assert_eq!(number(&envelope), 11);
    assert_quiet(&mut standby).await;
    drop(active);
    assert_eq!(take(&mut standby, 20).await, (11..=30).collect::<Vec<_>>());
}

async fn an_unbound_group_gets_nothing_more_and_can_be_removed(ground: Ground) {
    for unkeyed in [group("stock", &["a.b"]), partition(0, 2)] {
        let transport = ground.participant();
        let mut subscription = join(&transport, unkeyed.clone()).await;
        publish(&transport, vec![envelope("a.b", 1)]).await;
        // The probe that `join` binds is no part of what is ended here.
        transport.unbind(&unkeyed).await.expect("it is unbound");
        let mandatory = Envelope {
            mandatory: true,
            ..envelope("a.b", 2)
        };
        let settled = publish(&transport, vec![mandatory]).await;
        assert_eq!(settled, [Settlement::Unroutable]);
        assert!(!transport.remove(&unkeyed).await.expect("it answers"));
        assert_eq!(take(&mut subscription, 1).await, [1]);
        drop(subscription);
        test_servers::eventually("the group is removed", BOUND, async || {
            transport.remove(&unkeyed).await.ok()?.then_some(())
        })
        .await;
    }
}

/// Two numbers side by side would put the messages of one key into two queues.
#[tokio::test]
async fn another_number_of_partitions_is_refused_by_the_broker() {
    let ground = Ground::rabbitmq().await;
    let transport = ground.participant();
    let _first = join(&transport, partition(0, 2)).await;
    let other = RabbitMq::new(&ground.broker().url()).expect("a broker's address");
    let refused = other.subscribe(partition(0, 4)).await;
    // It began later and is there, so the other one has had its chance.
    let second = other.subscribe(partition(1, 2)).await;
    second.bound().cancelled().await;
    assert!(!refused.bound().is_cancelled());
    other.close().await;
}

conformance! {
    a_key_is_always_in_the_same_partition,
    messages_without_a_key_are_in_the_first_partition,
    a_partition_is_handed_on_in_order,
    an_unbound_group_gets_nothing_more_and_can_be_removed,
}

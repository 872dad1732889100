//! A transport that remembers, and that fails when it is told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::deliveries::Forwarding;
use super::faults::{Fault, Faults};
use super::idle;
use super::messages::of_type;
use super::record::Record;
use crate::bus::EventBus;
use crate::envelope::Envelope;
use crate::health::HealthProblem;
use crate::message::Message;
use crate::transport::{
    Capabilities, ConnectionState, Desk, Group, InMemory, NoReply, Questions, Refusal,
    RefusalScope, Reply, Settlement, Subscription, Transport, TransportError,
};

/// A transport around another one, for tests: it remembers what was published, knows what is under
/// way, and makes the faults of a network on demand.
///
/// A clone is another handle on the same; a further service gets a
/// [`participant`](TestTransport::participant), or another transport put [`beside`](Self::beside)
/// it. All of them share what is remembered and what goes wrong.
///
/// ```no_run
/// use std::time::Duration;
/// use event_bus::testing::TestTransport;
/// use event_bus::EventBus;
/// # async fn example(shop: sqlx::PgPool, stock: sqlx::PgPool, shutdown: tokio_util::sync::CancellationToken)
/// # -> Result<(), event_bus::StartError> {
///
/// let transport = TestTransport::in_memory();
/// let shop = EventBus::builder("shop", shop, transport.participant());
/// let shop = shop.start(shutdown.clone()).await?;
/// let stock = EventBus::builder("stock", stock, transport.participant());
/// let stock = stock.start(shutdown).await?;
///
/// transport.lose_acknowledgements(1);
/// // … a unit of work that publishes …
/// transport.wait_until_idle(&[&shop, &stock], Duration::from_secs(10)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestTransport<T = InMemory> {
    transport: Arc<T>,
    shared: Arc<Shared>,
}

/// What all participants have in common.
#[derive(Debug)]
pub(super) struct Shared {
    record: Mutex<Record>,
    pub(super) faults: Faults,
}

impl Shared {
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TestTransport {
    /// Around a new [`InMemory`].
    pub fn in_memory() -> Self {
        Self::around(InMemory::new())
    }

    /// For another service.
    pub fn participant(&self) -> Self {
        self.beside(InMemory::clone(&self.transport))
    }
}

impl<T: Transport> TestTransport<T> {
    /// Around any transport.
    pub fn around(transport: T) -> Self {
        Self {
            transport: Arc::new(transport),
            shared: Arc::new(Shared {
                record: Mutex::default(),
                faults: Faults::none(),
            }),
        }
    }

    /// Around the transport of another service.
    pub fn beside<U: Transport>(&self, transport: U) -> TestTransport<U> {
        TestTransport {
            transport: Arc::new(transport),
            shared: self.shared.clone(),
        }
    }

    /// The messages of a type that were published or sent so far, in order. One that was published
    /// again, because its confirm was lost, is here once.
    ///
    /// # Panics
    ///
    /// If a message of that name is not of that type.
    pub fn published<M: Message>(&self) -> Vec<M> {
        of_type(self.shared.record().published())
    }

    /// Waits until there is nothing left to do for these buses: their outboxes are empty, nothing
    /// that was scheduled or is to be tried again is due, and every message is acknowledged by
    /// every group that is bound for it.
    ///
    /// Over RabbitMQ, that the groups are bound has to be seen to before: a message that came too
    /// early for one is waited for in vain.
    ///
    /// # Panics
    ///
    /// If there is something left when the bound has passed.
    pub async fn wait_until_idle(&self, buses: &[&EventBus], bound: Duration) {
        idle::wait(&self.shared, buses, bound).await;
    }

    /// Lets the next messages fail to be published. They stay in the outbox and are tried again.
    pub fn fail_publishes(&self, messages: usize) {
        self.shared.faults.add(Fault::PublishFails, messages);
    }

    /// Refuses the messages that `which` selects, until [`accept`](Self::accept), as a broker does.
    ///
    /// A refusal of [`RefusalScope::Destination`] rejects each of them by itself. One of
    /// [`RefusalScope::Message`] closes the channel: nothing is known of the messages that are
    /// published together with the refused one.
    pub fn refuse(&self, refusal: Refusal, which: impl FnMut(&Envelope) -> bool + Send + 'static) {
        self.shared.faults.refuse(refusal, which);
    }

    /// Refuses no message any more.
    pub fn accept(&self) {
        self.shared.faults.accept();
    }

    /// Publishes the next messages and says that it failed, so that they are published twice.
    pub fn lose_confirms(&self, messages: usize) {
        self.shared.faults.add(Fault::ConfirmIsLost, messages);
    }

    /// Delivers the next messages twice.
    pub fn deliver_twice(&self, messages: usize) {
        self.shared.faults.add(Fault::Doubled, messages);
    }

    /// Loses the next acknowledgements, so that their messages are delivered again although they
    /// were handled.
    pub fn lose_acknowledgements(&self, messages: usize) {
        self.shared
            .faults
            .add(Fault::AcknowledgementIsLost, messages);
    }

    /// Cuts the connections of all participants: publishing waits, what was on its way counts as
    /// failed, and what was not acknowledged is delivered again when they are
    /// [restored](Self::restore).
    pub fn cut(&self) {
        self.shared.faults.cut();
    }

    /// Restores the connections.
    pub fn restore(&self) {
        self.shared.faults.restore();
    }
}

#[async_trait]
impl<T: Transport> Transport for TestTransport<T> {
    fn capabilities(&self) -> Capabilities {
        self.transport.capabilities()
    }

    async fn publish(&self, messages: Vec<Envelope>) -> BoxFuture<'static, Vec<Settlement>> {
        let lost = self.shared.faults.connection().await;
        let faults = &self.shared.faults;
        let refusals: Vec<_> = messages.iter().map(|m| faults.refusal_of(m)).collect();
        if let Some(refusal) = closes_channel(&refusals) {
            return vec_of(Settlement::Suspected(refusal), messages.len());
        }
        let mut fates = Vec::with_capacity(messages.len());
        let mut sent = Vec::with_capacity(messages.len());
        for (message, refusal) in messages.into_iter().zip(refusals) {
            if let Some(refusal) = refusal {
                fates.push(Err(Settlement::Refused(refusal)));
                continue;
            }
            if faults.strikes(Fault::PublishFails) {
                fates.push(Err(failed("told to fail")));
                continue;
            }
            let confirm_is_lost = faults.strikes(Fault::ConfirmIsLost);
            fates.push(Ok((Arc::new(message.clone()), confirm_is_lost)));
            self.shared.record().sent(&message);
            sent.push(message);
        }
        let settled = self.transport.publish(sent).await;
        let shared = self.shared.clone();
        async move {
            let mut settled = settled.await.into_iter();
            let settle = |fate: Result<(Arc<Envelope>, bool), Settlement>| {
                let (message, confirm_is_lost) = match fate {
                    Ok(fate) => fate,
                    Err(settlement) => return settlement,
                };
                let settlement = settled.next().unwrap_or_else(|| failed("no answer"));
                match settlement {
                    Settlement::Confirmed => shared.record().arrived(&message),
                    Settlement::Unroutable
                    | Settlement::Refused(_)
                    | Settlement::Suspected(_)
                    | Settlement::Failed(_) => {
                        shared.record().returned(&message);
                    }
                }
                if confirm_is_lost || lost.is_cancelled() {
                    return failed("told to lose the confirm");
                }
                settlement
            };
            fates.into_iter().map(settle).collect()
        }
        .boxed()
    }

    async fn subscribe(&self, group: Group) -> Subscription {
        let (sender, deliveries) = mpsc::unbounded_channel();
        let (cancelled, bound) = (CancellationToken::new(), CancellationToken::new());
        let membership = cancelled.clone().drop_guard();
        let forwarding = Forwarding {
            transport: self.transport.clone(),
            shared: self.shared.clone(),
            group,
            sender,
            bound: bound.clone(),
        };
        // At once if it can be: what is published from here on is for the group.
        let begun = match self.shared.faults.connected() {
            true => Some(forwarding.begin().await),
            false => None,
        };
        tokio::spawn(cancelled.run_until_cancelled_owned(forwarding.run(begun)));
        Subscription::new(deliveries, bound, membership)
    }

    async fn unbind(&self, group: &Group) -> Result<(), TransportError> {
        self.shared.faults.connection().await;
        self.transport.unbind(group).await?;
        self.shared.record().unbind(group);
        Ok(())
    }

    async fn remove(&self, group: &Group) -> Result<bool, TransportError> {
        self.shared.faults.connection().await;
        let is_gone = self.transport.remove(group).await?;
        if is_gone {
            self.shared.record().remove(group);
        }
        Ok(is_gone)
    }

    async fn depth(&self, group: &Group) -> Result<Option<u64>, TransportError> {
        self.shared.faults.connection().await;
        self.transport.depth(group).await
    }

    async fn request(&self, query: Envelope, timeout: Duration) -> Result<Reply, NoReply> {
        self.transport.request(query, timeout).await
    }

    async fn serve(&self, desk: Desk) -> Questions {
        self.transport.serve(desk).await
    }

    fn connect(&self) {
        self.transport.connect();
    }

    fn connected(&self) -> bool {
        self.shared.faults.connected() && self.transport.connected()
    }

    fn connection(&self) -> ConnectionState {
        match self.shared.faults.connected() {
            true => self.transport.connection(),
            false => ConnectionState::Disconnected,
        }
    }

    fn problems(&self) -> Vec<HealthProblem> {
        self.transport.problems()
    }

    async fn close(&self) {
        self.transport.close().await;
    }
}

impl<T> Clone for TestTransport<T> {
    fn clone(&self) -> Self {
        Self {
            transport: self.transport.clone(),
            shared: self.shared.clone(),
        }
    }
}

/// The refusal that closes the channel, if there is one.
fn closes_channel(refusals: &[Option<Refusal>]) -> Option<Refusal> {
    let mut refusals = refusals.iter().flatten();
    refusals
        .find(|refusal| refusal.scope == RefusalScope::Message)
        .cloned()
}

fn vec_of(settlement: Settlement, count: usize) -> BoxFuture<'static, Vec<Settlement>> {
    async move { vec![settlement; count] }.boxed()
}

fn failed(reason: &str) -> Settlement {
    Settlement::Failed(reason.to_owned())
}

//! Placing orders: requests that are waiting anyway share a commit.
//!
//! Two writers take whatever waits in the queue, up to [`MAX_SET`] requests, and write it in one
//! unit of work, with the same few statements for one order as for many. An order that comes alone
//! finds an idle writer and is written at once; under load the sets grow by themselves, while one
//! writer's commit is under way. Nothing ever waits for a set to fill.
//!
//! An order that can't be placed is answered alone and leaves the set as it is. If the database
//! refuses the set, each order in it is tried by itself, so that only the one at fault fails.
//!
//! The queue is bounded, and emptied more slowly while [messages wait](super::backpressure): what
//! does not fit is refused at once, so that more load shows at the front door and not as a growing
//! backlog.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use event_bus::{EventBus, Lineage, PublishError};
use event_contracts::ordering::OrderPlacedEto;
use jiff::Timestamp;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::backpressure::Backpressure;
use super::messages::ConfirmationDue;
use super::order::{Draft, Order};
use super::storage;
use crate::products::{self, Product};
use crate::settings::Settings;

/// The most orders that share a transaction.
const MAX_SET: usize = 256;
/// How many sets are written at a time: while one commits, the other is put together.
const WRITERS: usize = 2;

const WAITING: &str = "ordering_orders_waiting";
const PER_COMMIT: &str = "ordering_orders_per_commit";

/// A connection to a database that has vanished without a word is given up after this; else it
/// would hold its writer for as long.
const LONGEST_WRITE: Duration = Duration::from_secs(8);

/// Why an order was not placed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NotPlaced {
    /// There is no such product any more.
    #[error("the product is gone")]
    ProductGone,
    /// Ordering has never heard of the product.
    #[error("the product was never heard of")]
    ProductUnheard,
    /// More orders are waiting than are let in.
    #[error("the queue of orders to be written is full")]
    Busy,
    /// It could not be written.
    #[error("the order could not be written")]
    Failed(#[source] Arc<WriteError>),
    /// The writers have ended.
    #[error("no order is taken any more")]
    Stopped,
}

/// Why orders could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the database did not answer within {LONGEST_WRITE:?}")]
    TimedOut,
}

impl WriteError {
    /// Whether the same order may be written later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Database(error) => service_host::is_passing(error),
            Self::Publish(_) => false,
            Self::TimedOut => true,
        }
    }
}

/// Where orders are handed in. Its writers start with the first order, and end when it is dropped
/// and everything handed in is written.
#[derive(Debug, Default)]
pub(crate) struct PlacingDesk(OnceLock<mpsc::Sender<Waiting>>);

/// An order that waits to be written, with its place in the chain of causes.
#[derive(Debug)]
struct Waiting {
    draft: Draft,
    lineage: Lineage,
    answer: oneshot::Sender<Result<Order, NotPlaced>>,
}

impl PlacingDesk {
    /// Places an order, together with others that are waiting.
    ///
    /// # Errors
    ///
    /// Why it was not placed. After [`NotPlaced::Failed`] with a lost connection it is unknown
    /// whether it was.
    pub(crate) async fn place(
        &self,
        bus: &EventBus,
        settings: &Settings,
        draft: Draft,
    ) -> Result<Order, NotPlaced> {
        let queue = self.0.get_or_init(|| start_writers(bus, settings));
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            draft,
            lineage: Lineage::begin(),
            answer,
        };
        queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotPlaced::Busy,
            mpsc::error::TrySendError::Closed(_) => NotPlaced::Stopped,
        })?;
        let waiting = queue.max_capacity() - queue.capacity();
        metrics::gauge!(WAITING).set(waiting as f64);
        answered.await.unwrap_or(Err(NotPlaced::Stopped))
    }
}

fn start_writers(bus: &EventBus, settings: &Settings) -> mpsc::Sender<Waiting> {
    metrics::describe_gauge!(WAITING, "Orders that wait to be written.");
    metrics::describe_histogram!(PER_COMMIT, "Orders that shared a transaction.");
    let (queue, waiting) = mpsc::channel(settings.max_waiting_orders);
    let waiting = Arc::new(Mutex::new(waiting));
    let backpressure = Arc::new(Backpressure::new(bus.clone()));
    for _ in 0..WRITERS {
        let writer = Writer {
            bus: bus.clone(),
            confirmation_timeout: settings.confirmation_timeout,
            backpressure: backpressure.clone(),
        };
        tokio::spawn(writer.run(waiting.clone()));
    }
    queue
}

struct Writer {
    bus: EventBus,
    confirmation_timeout: Duration,
    backpressure: Arc<Backpressure>,
}

impl Writer {
    async fn run(self, queue: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
        let mut set = Vec::with_capacity(MAX_SET);
        loop {
            // Held by the writer whose turn it is to wait, and not while it writes.
            let mut waiting = queue.lock().await;
            if waiting.recv_many(&mut set, MAX_SET).await == 0 {
                return;
            }
            metrics::gauge!(WAITING).set(waiting.len() as f64);
            drop(waiting);
            // Whoever has gone away meanwhile was told nothing and gets no order.
            set.retain(|waiting| !waiting.answer.is_closed());
            self.place_all(std::mem::take(&mut set)).await;
            self.backpressure.wait().await;
        }
    }

    /// Places the orders together, or if the database refuses that, each by itself.
    async fn place_all(&self, set: Vec<Waiting>) {
        metrics::histogram!(PER_COMMIT).record(set.len() as f64);
        let placing = tokio::time::timeout(LONGEST_WRITE, self.place_together(&set));
        let error = match placing.await {
            Ok(Ok(answers)) => return answer_each(set, answers),
            Ok(Err(error)) => Arc::new(error),
            Err(_) => Arc::new(WriteError::TimedOut),
        };
        if error.is_passing() || set.len() == 1 {
            let answers = set.iter().map(|_| Err(NotPlaced::Failed(error.clone())));
            let answers = answers.collect();
            return answer_each(set, answers);
        }
        for waiting in set {
            Box::pin(self.place_all(vec![waiting])).await;
        }
    }

    /// Writes what can be placed in one unit of work, and gives back the answer to each.
    async fn place_together(
        &self,
        set: &[Waiting],
    ) -> Result<Vec<Result<Order, NotPlaced>>, WriteError> {
        let mut work = self.bus.begin().await?;
        let wanted = set.iter().map(|waiting| waiting.draft.product_id);
        let products = products::storage::hold(&mut work, wanted).await?;
        let answers: Vec<_> = set
            .iter()
            .map(|waiting| price(&waiting.draft, products.get(&waiting.draft.product_id)))
            .collect();

        let placed: Vec<(&Order, &Lineage)> = answers
            .iter()
            .zip(set)
            .filter_map(|(answer, waiting)| Some((answer.as_ref().ok()?, &waiting.lineage)))
            .collect();
        if placed.is_empty() {
            return Ok(answers);
        }
        let with_trace: Vec<_> = placed
            .iter()
            .map(|(order, lineage)| (*order, lineage.trace.trace_id()))
            .collect();
        storage::insert_placed(&mut work, &with_trace).await?;
        let due = Timestamp::now() + self.confirmation_timeout;
        for (order, lineage) in placed {
            work.inherit(lineage.clone());
            work.publish(&placed_event(order))?;
            work.schedule(&ConfirmationDue { order_id: order.id }, due)?;
        }
        work.commit().await?;
        Ok(answers)
    }
}

fn price(draft: &Draft, product: Option<&Product>) -> Result<Order, NotPlaced> {
    match product {
        None => Err(NotPlaced::ProductUnheard),
        Some(product) if product.deleted => Err(NotPlaced::ProductGone),
        Some(product) => Ok(Order::place(draft.clone(), product)),
    }
}

fn placed_event(order: &Order) -> OrderPlacedEto {
    OrderPlacedEto {
        order_id: order.id.0,
        customer_name: order.customer_name.as_str().to_owned(),
        customer_id: order.customer_id.map(|id| id.0),
        product_id: order.product_id.0,
        quantity: order.quantity.get(),
    }
}

fn answer_each(set: Vec<Waiting>, answers: Vec<Result<Order, NotPlaced>>) {
    for (waiting, answer) in set.into_iter().zip(answers) {
        // Nobody may be waiting any more; the order stands all the same.
        let _ = waiting.answer.send(answer);
    }
}

//! Asking: all queries in flight on one channel, which is made anew when it is lost.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Consumer};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::pending::Pending;
use super::wire::{self, REPLY_TO};
use crate::conditions::Conditions;
use crate::envelope::Envelope;
use crate::transport::queries::LONGEST_WAIT;
use crate::transport::rabbitmq::connection::Supervised;
use crate::transport::rabbitmq::declaring::DeclareError;
use crate::transport::rabbitmq::topology;
use crate::transport::{NoReply, Reply};

/// Before a channel is opened again on a connection that stands: the reason may still hold.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// What a condition is raised on while there is no channel.
const SUBJECT: &str = "requests";

/// How many queries may be published without being confirmed. While a broker holds back its
/// publishers, the others wait with whoever asks them.
const MOST_UNCONFIRMED: usize = 1024;

/// Asks queries over one connection.
#[derive(Debug)]
pub(in crate::transport::rabbitmq) struct Asker {
    connection: Supervised,
    conditions: Conditions,
    closed: CancellationToken,
    tasks: TaskTracker,
    /// The channel at hand, kept up by a task of its own from the first query on.
    line: OnceLock<watch::Receiver<Option<Line>>>,
}

/// One channel, as those who ask see it.
#[derive(Debug, Clone)]
struct Line {
    pending: Pending,
    queries: mpsc::Sender<Asked>,
}

/// A query to be published, unless nobody waits for it any more.
#[derive(Debug)]
struct Asked {
    query: Arc<Envelope>,
    until: Instant,
}

impl Asker {
    pub(in crate::transport::rabbitmq) fn new(
        connection: Supervised,
        conditions: Conditions,
        closed: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            connection,
            conditions,
            closed,
            tasks,
            line: OnceLock::new(),
        }
    }

    /// See [`Transport::request`](crate::Transport::request).
    pub(in crate::transport::rabbitmq) async fn request(
        &self,
        query: Envelope,
        timeout: Duration,
    ) -> Result<Reply, NoReply> {
        let until = Instant::now() + timeout.min(LONGEST_WAIT);
        let mut asked = false;
        match timeout_at(until, self.ask(query, until, &mut asked)).await {
            Ok(reply) => reply,
            Err(_) if asked => Err(NoReply::TimedOut),
            Err(_) => Err(NoReply::Disconnected),
        }
    }

    async fn ask(
        &self,
        query: Envelope,
        until: Instant,
        asked: &mut bool,
    ) -> Result<Reply, NoReply> {
        let query = Arc::new(query);
        loop {
            let line = self.line().await.ok_or(NoReply::Disconnected)?;
            // A channel that was lost just now has not had the query: the next one gets it.
            let Some(slot) = line.pending.add(query.id) else {
                continue;
            };
            let job = Asked {
                query: query.clone(),
                until,
            };
            if line.queries.send(job).await.is_ok() {
                *asked = true;
                return slot.answer().await;
            }
        }
    }

    /// The channel, as soon as there is one; `None` once the transport is closed.
    async fn line(&self) -> Option<Line> {
        let mut line = self.watch();
        tokio::select! {
            () = self.closed.cancelled() => None,
            line = line.wait_for(Option::is_some) => line.ok()?.clone(),
        }
    }

    fn watch(&self) -> watch::Receiver<Option<Line>> {
        let keep_up = || {
            let (sender, receiver) = watch::channel(None);
            let (connection, conditions) = (self.connection.clone(), self.conditions.clone());
            self.tasks
                .spawn(keep_up(connection, conditions, self.closed.clone(), sender));
            receiver
        };
        self.line.get_or_init(keep_up).clone()
    }
}

/// Opens one channel after another until the transport is closed.
async fn keep_up(
    connection: Supervised,
    conditions: Conditions,
    closed: CancellationToken,
    current: watch::Sender<Option<Line>>,
) {
    loop {
        match closed.run_until_cancelled(open(&connection)).await {
            None | Some(Ok(None)) => return,
            Some(Ok(Some((channel, replies)))) => {
                conditions.clear(SUBJECT);
                let pending = Pending::open();
                let (queries, mut asked) = mpsc::channel(MOST_UNCONFIRMED);
                current.send_replace(Some(Line {
                    pending: pending.clone(),
                    queries,
                }));
                let carrying = carry(&channel, replies, &mut asked, &pending);
                let end = closed.run_until_cancelled(carrying).await;
                // In this order: whoever finds the channel closed must not find it here again.
                current.send_replace(None);
                pending.close();
                // A lost connection is reported for itself.
                if let Some(reason) = end
                    && connection.connected()
                {
                    conditions.raise(SUBJECT, format!("the channel was lost: {reason}"));
                }
            }
            Some(Err(error)) if connection.connected() => {
                conditions.raise(SUBJECT, format!("can't be sent: {error}"));
            }
            Some(Err(_)) => {}
        }
        // The connection tells by itself when it is back.
        if connection.connected() {
            let pause = tokio::time::sleep(REOPEN_DELAY);
            closed.run_until_cancelled(pause).await;
        }
    }
}

/// A channel in confirm mode, with the consumer that direct reply-to asks for.
async fn open(connection: &Supervised) -> Result<Option<(Channel, Consumer)>, DeclareError> {
    let Some(connection) = connection.get().await else {
        return Ok(None);
    };
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    topology::ensure_exchanges(&connection).await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let replies = channel
        .basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default())
        .await?;
    Ok(Some((channel, replies)))
}

/// Publishes queries and takes replies, until the channel ends. Returns why it did.
///
/// All confirms are awaited here, even those of queries that were given up: the client hands a
/// returned message to whichever confirm it resolves next, so with any of them the return of
/// another query would be lost.
async fn carry(
    channel: &Channel,
    mut replies: Consumer,
    asked: &mut mpsc::Receiver<Asked>,
    pending: &Pending,
) -> String {
    let mut unconfirmed = FuturesUnordered::new();
    loop {
        tokio::select! {
            reply = replies.next() => match reply {
                Some(Ok(delivery)) => {
                    if let Some((query, reply)) = wire::read_reply(delivery) {
                        pending.settle(&query, reply);
                    }
                }
                Some(Err(error)) => return error.to_string(),
                None => return "the channel was closed".to_owned(),
            },
            Some(Asked { query, until }) = asked.recv(), if unconfirmed.len() < MOST_UNCONFIRMED => {
                if pending.contains(&query.id) {
                    let id = query.id;
                    let confirmed = publish(channel, query, until);
                    unconfirmed.push(confirmed.map(move |confirmation| (id, confirmation)));
                }
            }
            Some((query, confirmation)) = unconfirmed.next() => {
                let refused = matches!(&confirmation, Ok(Confirmation::Nack(_)));
                note(pending, &query, confirmation);
                if refused {
                    // It might go on to refuse, see the publisher.
                    return "the broker refused a query".to_owned();
                }
            }
        }
    }
}

async fn publish(
    channel: &Channel,
    query: Arc<Envelope>,
    until: Instant,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let time_left = until.saturating_duration_since(Instant::now());
    channel
        .basic_publish(
            topology::QUERIES.into(),
            query.name.as_str().into(),
            options,
            &query.body,
            wire::query_properties(&query, time_left),
        )
        .await?
        .await
}

/// A confirm tells nothing, the reply does. But a query that was returned, whichever confirm the
/// return came with, has nobody to answer it; and one that was refused gets no answer either.
fn note(pending: &Pending, query: &Uuid, confirmation: lapin::Result<Confirmation>) {
    if !matches!(&confirmation, Ok(Confirmation::Ack(_))) {
        pending.settle(query, Err(NoReply::Disconnected));
    }
    let returned = confirmation.ok().and_then(Confirmation::take_message);
    let id = returned.and_then(|returned| {
        let id = returned.delivery.properties.message_id().as_ref()?;
        Uuid::parse_str(id.as_str()).ok()
    });
    if let Some(id) = id {
        pending.settle(&id, Err(NoReply::NobodyAnswers));
    }
}

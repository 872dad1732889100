//! The program of a participant: a bus whose handlers write a row for each message.

use clap::{Args, ValueEnum};
use event_bus::{
    BatchHandler, Event, EventBus, EventBusBuilder, Handler, HandlerError, Message, RabbitMq,
    Received, UnitOfWork,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The event that the publisher publishes and the consumer handles.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkDone {
    /// Padding that gives the body its size.
    pub(crate) filling: String,
}

impl Message for WorkDone {
    type Kind = Event;
    const NAME: &'static str = "bench.work.done";
}

/// The role of a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Relays the messages in its outbox.
    Publisher,
    /// Handles messages one by one, each with its own statement.
    OneByOne,
    /// Handles each batch of messages with one statement.
    Set,
}

/// The arguments of a participant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Participation {
    #[arg(value_enum)]
    pub(super) role: Role,
    #[arg(env = "DATABASE_URL", long, hide_env_values = true)]
    pub(super) database_url: String,
    #[arg(env = "AMQP_URL", long, hide_env_values = true)]
    pub(super) amqp_url: String,
}

impl Role {
    /// The name of the participant, which is also its database role.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::OneByOne | Self::Set => "consumer",
        }
    }

    fn handlers(self, bus: EventBusBuilder) -> EventBusBuilder {
        match self {
            Self::Publisher => bus,
            Self::OneByOne => bus.handle::<WorkDone, _>(Record),
            Self::Set => bus.handle_batch::<WorkDone, _>(Record),
        }
    }
}

/// Runs the participant until it receives SIGTERM.
///
/// # Errors
///
/// If the database can't be reached or the bus does not start.
pub(crate) async fn run(participation: Participation) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .connect(&participation.database_url)
        .await?;
    let shutdown = CancellationToken::new();
    let bus = start(&participation, pool, shutdown.clone()).await?;
    terminate.recv().await;
    shutdown.cancel();
    bus.stopped().await;
    Ok(())
}

async fn start(
    participation: &Participation,
    pool: PgPool,
    shutdown: CancellationToken,
) -> anyhow::Result<EventBus> {
    let broker = RabbitMq::new(&participation.amqp_url)?;
    let role = participation.role;
    let bus = EventBus::builder(role.name(), pool, broker);
    Ok(role.handlers(bus).start(shutdown).await?)
}

/// Writes a row for each message.
struct Record;

impl Handler<WorkDone> for Record {
    async fn handle(
        &self,
        done: Received<WorkDone>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        sqlx::query("insert into effects (message_id) values ($1)")
            .bind(done.id())
            .execute(&mut **work)
            .await?;
        Ok(())
    }
}

impl BatchHandler<WorkDone> for Record {
    async fn handle(
        &self,
        done: Vec<Received<WorkDone>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let ids: Vec<Uuid> = done.iter().map(Received::id).collect();
        sqlx::query("insert into effects (message_id) select * from unnest($1::uuid[])")
            .bind(ids)
            .execute(&mut **work)
            .await?;
        Ok(())
    }
}

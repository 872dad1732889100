#![doc = include_str!("../README.md")]
#![warn(missing_debug_implementations)]

mod decode;
mod entity;
mod envelope;
mod message;
mod request;
#[cfg(feature = "schemars")]
mod schema;
mod snapshot;

#[cfg(feature = "asyncapi")]
mod asyncapi;

#[cfg(feature = "postgres")]
mod builder;
#[cfg(feature = "postgres")]
mod bus;
#[cfg(feature = "postgres")]
mod conditions;
#[cfg(feature = "postgres")]
mod consumer_group;
#[cfg(feature = "postgres")]
mod database_fault;
#[cfg(feature = "postgres")]
pub mod dead_letters;
#[cfg(feature = "postgres")]
mod dispatcher;
#[cfg(feature = "postgres")]
mod error_text;
#[cfg(feature = "postgres")]
mod groups;
#[cfg(feature = "postgres")]
mod handler;
#[cfg(feature = "postgres")]
mod handler_entry;
#[cfg(feature = "postgres")]
mod health;
#[cfg(feature = "postgres")]
mod held_keys;
#[cfg(feature = "postgres")]
mod housekeeping;
#[cfg(feature = "postgres")]
mod inbox;
#[cfg(feature = "postgres")]
mod instances;
#[cfg(feature = "postgres")]
mod interval;
#[cfg(feature = "postgres")]
mod kill_switch;
#[cfg(feature = "postgres")]
mod lease;
#[cfg(feature = "postgres")]
mod migrate;
#[cfg(feature = "postgres")]
mod outbox;
#[cfg(feature = "postgres")]
mod partition;
#[cfg(feature = "postgres")]
mod pattern;
#[cfg(feature = "postgres")]
mod privileges;
#[cfg(feature = "postgres")]
mod queries;
#[cfg(feature = "postgres")]
mod received;
#[cfg(feature = "postgres")]
mod refused;
#[cfg(feature = "postgres")]
mod registry;
#[cfg(feature = "postgres")]
mod relay;
#[cfg(feature = "postgres")]
mod replicas;
#[cfg(feature = "postgres")]
mod repository;
#[cfg(feature = "postgres")]
mod retries;
#[cfg(feature = "postgres")]
mod retry_policy;
#[cfg(feature = "postgres")]
mod running;
#[cfg(feature = "postgres")]
mod sessions;
#[cfg(feature = "postgres")]
mod settings;
#[cfg(feature = "postgres")]
mod signals;
#[cfg(feature = "postgres")]
mod start_error;
#[cfg(feature = "postgres")]
mod store;
#[cfg(feature = "postgres")]
mod subscription;
#[cfg(feature = "test-kit")]
pub mod testing;
#[cfg(feature = "postgres")]
mod trace;
#[cfg(feature = "postgres")]
pub mod transport;
#[cfg(feature = "postgres")]
mod unit_of_work;
#[cfg(feature = "postgres")]
mod vacuum;
#[cfg(feature = "postgres")]
mod wake;

pub use decode::{BodyError, DecodeError, UpcastError};
pub use entity::{EntityCreatedEto, EntityDeletedEto, EntityEto, EntityUpdatedEto};
pub use envelope::{Envelope, Lineage, MAX_BODY_BYTES, MAX_KEY_BYTES, PublishError, TraceContext};
#[cfg(feature = "derive")]
pub use event_bus_derive::Message;
pub use message::{Command, Event, Kind, Message, MessageKind, Posted, Query};
pub use request::Request;
pub use snapshot::{GetSnapshotPage, SnapshotPage};

#[cfg(feature = "postgres")]
pub use {
    builder::EventBusBuilder,
    bus::{EventBus, PublishNowError},
    consumer_group::ConsumerGroup,
    database_fault::DatabaseFault,
    error_text::reasons as error_reasons,
    handler::{BatchHandler, DynamicHandler, Handler, HandlerError},
    health::{BusHealth, HealthProblem},
    kill_switch::KillSwitch,
    migrate::{
        IncompatibleSchema, MigrateError, check_compatible, migrate, migrator, run_migrations,
    },
    queries::{RequestError, RespondError, Responder},
    received::Received,
    replicas::{Origin, ReplicaStore, SnapshotSource},
    repository::{EntityStore, Repository, RepositoryError},
    retry_policy::RetryPolicy,
    sessions::is_outdated_statement,
    settings::BusSettings,
    start_error::StartError,
    subscription::Subscription,
    transport::{ConnectionState, InMemory},
    unit_of_work::UnitOfWork,
};

/// The JSON value that [`Message::upcast`] takes and returns.
pub use serde_json::Value as JsonValue;

/// The version of `schemars` that messages have their schemas by.
#[cfg(feature = "schemars")]
pub use schemars;

#[cfg(feature = "rabbitmq")]
pub use transport::RabbitMq;

//! Why a bus can't be started as it was put together.

/// A mistake in how a bus, or a consumer group of it, was put together. It would be there at every
/// start, and is told before anything is begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It is the source of the service's messages, for CloudEvents a reference to a URI, and names
    /// its queues.
    #[error("`{name}` can't name a service: 1 to 100 letters, digits, `-` and `_` can")]
    InvalidService {
        /// The name that was given.
        name: String,
    },
    /// Inbox, retries and dead letters could not tell the two apart.
    #[error("two handlers named `{handler}` were added for `{message}`")]
    DuplicateHandler {
        /// The name of the message, or the pattern.
        message: String,
        /// The name of both handlers.
        handler: &'static str,
    },
    /// A command is for one receiver.
    #[error("the command `{command}` has a receiver already, `{handler}` would be a second")]
    SecondReceiver {
        /// The name of the command.
        command: &'static str,
        /// The handler that was added last.
        handler: &'static str,
    },
    /// A query has one answer.
    #[error("the query `{query}` has a responder already, `{responder}` would be a second")]
    SecondResponder {
        /// The name of the query.
        query: &'static str,
        /// The responder that was added last.
        responder: &'static str,
    },
    /// What the one type writes, the other could not read.
    #[error("two message types have the name `{message}`")]
    NameOfTwoTypes {
        /// The name of both.
        message: &'static str,
    },
    /// A handler's stored messages belong to its group.
    #[error("handlers named `{handler}` are in two groups; give one of them another name")]
    HandlerOfTwoGroups {
        /// The name of both handlers.
        handler: &'static str,
    },
    /// A pattern is words separated by dots, 255 bytes at most.
    #[error("`{handler}` was added for a pattern that is empty or longer than 255 bytes")]
    InvalidPattern {
        /// The handler that was added for it.
        handler: &'static str,
    },
    /// The name of a queue is made of it, and has to fit into 255 bytes with what is added.
    #[error(
        "`{name}` can't name a consumer group: 1 to 100 letters, digits, `-` and `_` can, and each name once"
    )]
    InvalidGroup {
        /// The name that was given.
        name: String,
    },
    /// How many partitions an ordered group can have is bounded by the bits of a key that are
    /// compared.
    #[error("the group `{group}` has {partitions} partitions; 1 to {most} are possible")]
    InvalidPartitions {
        /// The group's name.
        group: String,
        /// How many were asked for.
        partitions: u16,
        /// How many are possible.
        most: u16,
    },
    /// A setting would make the bus spin, stand still or overflow.
    #[error("the setting `{setting}` of `{scope}` is {value}; allowed is {allowed}")]
    InvalidSetting {
        /// `bus`, or the name of the consumer group.
        scope: String,
        /// The setting's name, such as `relay_batch` or `retry.max_delay`.
        setting: &'static str,
        /// The value that was given.
        value: String,
        /// The allowed range, both ends included.
        allowed: String,
    },
}

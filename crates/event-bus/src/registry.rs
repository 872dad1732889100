//! The handlers of a consumer group, and which of them a message is for.

use std::collections::HashMap;

use crate::handler_entry::{HandlerEntry, Subject};
use crate::message::Kind;
use crate::start_error::StartError;
use crate::transport::Binding;

/// The handlers of one consumer group.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_message: HashMap<&'static str, Vec<HandlerEntry>>,
    by_pattern: Vec<HandlerEntry>,
}

impl Registry {
    pub(crate) fn new(entries: impl IntoIterator<Item = HandlerEntry>) -> Self {
        let mut registry = Self::default();
        for entry in entries {
            match entry.subject {
                Subject::Type { name, .. } => {
                    registry.by_message.entry(name).or_default().push(entry);
                }
                Subject::Pattern(_) => registry.by_pattern.push(entry),
            }
        }
        registry
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &HandlerEntry> {
        self.by_message.values().flatten().chain(&self.by_pattern)
    }

    /// The handlers of a message: those of its type and then those by pattern, each in the order
    /// in which they were added.
    pub(crate) fn handlers_of(&self, message: &str) -> impl Iterator<Item = &HandlerEntry> {
        let typed = self.by_message.get(message).into_iter().flatten();
        let dynamic = self.by_pattern.iter().filter(
            move |entry| matches!(&entry.subject, Subject::Pattern(pattern) if pattern.matches(message)),
        );
        typed.chain(dynamic)
    }

    /// One handler of a message.
    pub(crate) fn handler(&self, message: &str, handler: &str) -> Option<&HandlerEntry> {
        self.handlers_of(message)
            .find(|entry| entry.name == handler)
    }

    /// The names of all handlers.
    pub(crate) fn handler_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.entries().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What the group's queue must receive.
    pub(crate) fn bindings(&self) -> Vec<Binding> {
        let mut bindings: Vec<_> = self.entries().map(|e| e.subject.binding()).collect();
        bindings.sort();
        bindings.dedup();
        bindings
    }
}

/// Looks whether a handler can stand beside the others of its bus, in whichever group they are.
pub(crate) fn check_beside<'a>(
    entry: &HandlerEntry,
    others: impl IntoIterator<Item = &'a HandlerEntry>,
) -> Result<(), StartError> {
    for other in others {
        let overlap = entry.subject.overlaps(&other.subject);
        // Inbox, retries and dead letters tell handlers apart by their names.
        if overlap && entry.name == other.name {
            return Err(StartError::DuplicateHandler {
                message: entry.subject.as_str().to_owned(),
                handler: entry.name,
            });
        }
        let (
            Subject::Type { kind, name, id, .. },
            Subject::Type {
                name: same,
                id: other_id,
                ..
            },
        ) = (&entry.subject, &other.subject)
        else {
            continue;
        };
        if name != same {
            continue;
        }
        if id != other_id {
            return Err(StartError::NameOfTwoTypes { message: name });
        }
        if *kind == Kind::Command {
            return Err(StartError::SecondReceiver {
                command: name,
                handler: entry.name,
            });
        }
    }
    Ok(())
}

//! Replicas: copies of another service's entities, filled by asking the owner and kept by events.
//!
//! A replica is filled page by page, in the order of ids, while events already keep it. That
//! leaves no gap and takes no step back, for these reasons:
//!
//! * **No gap.** The first page is asked for when the queue of the replica's events is there and
//!   bound. The owner reads a page from what it has committed. So of each change, either the page
//!   shows it, because it was committed before the page was read; or its event is published after
//!   that, and reaches the queue. Entities that are created behind the cursor come by their
//!   events, those before it by both.
//! * **No step back.** Pages and events meet in `replica_versions`: one statement, in the
//!   transaction of the copy itself, says whether a picture is newer than what is there. A
//!   deletion wins against its own version, and leaves a tombstone, so that a page that was read
//!   before it does not bring the entity back.
//! * **Nothing twice, nothing left out.** A page and the cursor behind it are one transaction, so
//!   whoever goes on after a crash goes on where the page ended. One instance fills at a time; an
//!   instance that believes it still does finds the cursor moved, and drops its page.
//! * **Nothing left over.** When all pages are there, what the replica has and no page showed is
//!   gone at the owner: it is removed. An entity that an event told of during the filling counts
//!   as shown.
//!
//! Tombstones are purged after the inbox and the dead letters of their time: what could bring an
//! entity back is older than its end, and is by then neither delivered again nor replayed.
//!
//! What is not covered: a queue that is lost, with the events in it, by the broker or by somebody
//! who deletes it. [`EventBus::refill`](crate::EventBus::refill) is for that.

mod entry;
mod filler;
#[cfg(test)]
mod interleavings;
mod live;
mod operations;
mod page;
mod source;
mod storage;
mod store;

pub(crate) use self::entry::{ReplicaEntry, ReplicaState};
pub use self::source::SnapshotSource;
pub(crate) use self::source::Snapshots;
pub(crate) use self::storage::purge_tombstones;
pub use self::store::{Origin, ReplicaStore};

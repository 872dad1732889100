//! What ordering knows of its customers: what they are called now.

mod handlers;
mod storage;

pub(crate) use handlers::CustomerReplica;

//! What ordering knows of its customers: what they are called now.

mod replica;
mod storage;

pub(crate) use replica::CustomerReplica;

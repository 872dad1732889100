//! Compares every version of every message with its golden file.
#![expect(clippy::expect_used, reason = "a panic is how a test fails")]

mod catalog;
mod identity;
mod ordering;
mod shape;

use uuid::{Uuid, uuid};

const ORDER: Uuid = uuid!("01930f6e-8c00-7000-8000-000000000001");
const PRODUCT: Uuid = uuid!("5995897b-1de9-7272-b31c-3a165bbe7b18");
const CUSTOMER: Uuid = uuid!("01930f6e-8c00-7000-8000-000000000002");

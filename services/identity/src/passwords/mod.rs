//! Passwords: what one has to be, and how it is kept.

mod hasher;
mod password;
pub(crate) mod storage;

pub(crate) use hasher::{Hasher, PasswordHash};
pub(crate) use password::Password;

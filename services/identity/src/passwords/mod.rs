//! Passwords: validation, hashing and storage.

mod hasher;
mod password;
pub(crate) mod storage;

pub(crate) use hasher::{Hasher, PasswordHash};
pub(crate) use password::Password;

//! Users: who they are, and what they may do.

mod body;
mod fields;
mod http;
mod role;
pub(crate) mod storage;
mod user;

pub(crate) use fields::{Email, PersonName, UserName};
pub(crate) use http::routes;
pub(crate) use role::Role;
pub(crate) use user::{Profile, User, UserId};

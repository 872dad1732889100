//! Users: their data, roles and permissions.

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

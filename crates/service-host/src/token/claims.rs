//! What an access token says.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who issues the tokens, and whom they are for.
pub const ISSUER: &str = "waybill";

/// The longest that an access token is valid, in seconds: 15 minutes.
pub const MAX_LIFETIME: u64 = 15 * 60;

/// The claims of an access token (RFC 7519), signed with Ed25519 (`alg` `EdDSA`, RFC 8037) under
/// the key named by `kid` in the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Always [`ISSUER`].
    pub iss: String,
    /// Always [`ISSUER`].
    pub aud: String,
    /// The user.
    pub sub: Uuid,
    /// Name to be shown.
    pub name: String,
    /// Name to sign in with.
    pub preferred_username: String,
    /// Names of the user's roles.
    pub roles: Vec<String>,
    /// What the roles allow, such as `catalog.products.manage`.
    pub permissions: Vec<String>,
    /// When it was issued, seconds since 1970.
    pub iat: u64,
    /// When it ends, seconds since 1970.
    pub exp: u64,
}

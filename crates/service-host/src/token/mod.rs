//! Access tokens: what they say, and how they are checked without a call per request.

mod claims;
#[cfg(feature = "testing")]
pub(crate) mod test_issuer;
mod verifier;

pub use claims::{Claims, ISSUER, MAX_LIFETIME};
pub use verifier::{TokenError, TokenVerifier};

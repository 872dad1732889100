//! Versions of what is stored as entity tags, and `If-Match` against lost updates (RFC 9110,
//! section 13.1.1).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponseParts, ResponseParts};

use crate::problem::Problem;

/// The version of what is answered, as a strong entity tag: `ETag: "3"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag(pub i64);

impl IntoResponseParts for ETag {
    type Error = std::convert::Infallible;

    fn into_response_parts(
        self,
        mut response: ResponseParts,
    ) -> Result<ResponseParts, Self::Error> {
        let Self(version) = self;
        if let Ok(value) = HeaderValue::try_from(format!("\"{version}\"")) {
            response.headers_mut().insert(header::ETAG, value);
        }
        Ok(response)
    }
}

/// The versions a client is willing to change.
///
/// A request without the header is refused with 428.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `If-Match: *`: whatever version there is.
    Any,
    /// `If-Match: "3"`, or several; tags that are not ours or weak match nothing.
    Versions(Vec<i64>),
}

impl IfMatch {
    /// Refuses to change another version than the client has seen.
    ///
    /// # Errors
    ///
    /// 412 if `current` is none of the client's.
    pub fn require(&self, current: i64) -> Result<(), Problem> {
        match self {
            Self::Any => Ok(()),
            Self::Versions(versions) if versions.contains(&current) => Ok(()),
            Self::Versions(_) => Err(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "stale",
                "It has changed since you read it",
            )
            .with_detail("Read it again, and send its ETag as `If-Match`.")),
        }
    }

    fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        let version = |tag: &str| {
            tag.trim()
                .strip_prefix('"')?
                .strip_suffix('"')?
                .parse()
                .ok()
        };
        Self::Versions(text.split(',').filter_map(version).collect())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        match values.next() {
            Some(value) => Ok(Self::parse(value.to_str().unwrap_or_default())),
            None => Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "if-match-required",
                "Say which version is to be changed",
            )
            .with_detail("Send the ETag of what you have read as `If-Match`.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_tags_are_versions_and_others_match_nothing() {
        assert_eq!(IfMatch::parse("\"3\""), IfMatch::Versions(vec![3]));
        assert_eq!(
            IfMatch::parse("\"3\", \"4\""),
            IfMatch::Versions(vec![3, 4])
        );
        assert_eq!(IfMatch::parse(" * "), IfMatch::Any);
        for foreign in ["W/\"3\"", "3", "\"abc\"", ""] {
            assert_eq!(IfMatch::parse(foreign), IfMatch::Versions(vec![]));
            assert!(IfMatch::parse(foreign).require(3).is_err());
        }
    }
}

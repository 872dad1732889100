//! From the body of an envelope to a message, whichever version it came in.

mod reader;
mod refusal;

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use crate::envelope::Envelope;
use crate::message::Message;

impl Envelope {
    /// Reads the body as a message. One of an older version is brought into the present shape by
    /// [`Message::upcast`]; fields that the type does not know are ignored.
    ///
    /// # Errors
    ///
    /// If the body is no such message, or one of a newer version.
    pub fn decode<M: Message>(&self) -> Result<M, DecodeError> {
        let unreadable = |source| DecodeError::Body {
            name: M::NAME,
            source,
        };
        match self.version.cmp(&M::VERSION) {
            Ordering::Equal => read(&self.body).map_err(unreadable),
            Ordering::Less => {
                let body: Value = read(&self.body).map_err(unreadable)?;
                let body = M::upcast(self.version, body).map_err(|error| DecodeError::Upcast {
                    name: M::NAME,
                    version: self.version,
                    present: M::VERSION,
                    source: error.0,
                })?;
                M::deserialize(&body).map_err(|error| unreadable(BodyError::of::<M>(&body, &error)))
            }
            Ordering::Greater => Err(DecodeError::Newer {
                name: M::NAME,
                version: self.version,
                newest: M::VERSION,
            }),
        }
    }
}

/// Reads JSON as a type.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    serde_json::from_slice(body).map_err(|error| match serde_json::from_slice(body) {
        Ok(value) => BodyError::of::<T>(&value, &error),
        Err(error) => BodyError(summary(&error)),
    })
}

/// What is known of an error of JSON without what it quotes of the text: the kind, and the place
/// if there is one.
pub(crate) fn summary(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        Category::Io => "the JSON could not be read",
        Category::Syntax => "invalid JSON",
        Category::Eof => "incomplete JSON",
        Category::Data => "JSON of another type",
    };
    match error.line() {
        0 => kind.to_owned(),
        line => format!("{kind} at line {line} column {}", error.column()),
    }
}

/// Why a body is not what the message's name promises. It names the place in the body and the kind
/// of the mistake, and repeats nothing of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(String);

impl BodyError {
    /// Of JSON that was refused with this error.
    fn of<T: DeserializeOwned>(value: &Value, error: &serde_json::Error) -> Self {
        Self(match refusal::refusal::<T>(value) {
            Some(refusal) => refusal.to_string(),
            // A field that is there twice, for example, of which the value has one.
            None => summary(error),
        })
    }
}

/// Why a body could not be read as a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not what the message's name promises.
    #[error("the body is no `{name}`")]
    Body {
        /// The message's name.
        name: &'static str,
        /// Where and why.
        #[source]
        source: BodyError,
    },
    /// [`Message::upcast`] failed.
    #[error("version {version} of `{name}` can't be brought to version {present}")]
    Upcast {
        /// The message's name.
        name: &'static str,
        /// The version it came in.
        version: u32,
        /// The version of the type.
        present: u32,
        /// What `upcast` said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It came in a version that the type does not know yet.
    #[error("`{name}` came in version {version}, and version {newest} is the newest known here")]
    Newer {
        /// The message's name.
        name: &'static str,
        /// The version it came in.
        version: u32,
        /// The version of the type.
        newest: u32,
    },
}

/// Why the body of an older version could not be brought into the present shape.
///
/// Any error becomes one with `?`.
pub struct UpcastError(Box<dyn Error + Send + Sync>);

impl UpcastError {
    /// An error with this reason.
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Debug for UpcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for UpcastError {
    fn from(source: E) -> Self {
        Self::new(source)
    }
}

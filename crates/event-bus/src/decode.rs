//! From the body of an envelope to a message, whichever version it came in.

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;

use serde_json::Value;

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
            Ordering::Equal => serde_json::from_slice(&self.body).map_err(unreadable),
            Ordering::Less => {
                let body: Value = serde_json::from_slice(&self.body).map_err(unreadable)?;
                let body = M::upcast(self.version, body).map_err(|error| DecodeError::Upcast {
                    name: M::NAME,
                    version: self.version,
                    present: M::VERSION,
                    source: error.0,
                })?;
                serde_json::from_value(body).map_err(unreadable)
            }
            Ordering::Greater => Err(DecodeError::Newer {
                name: M::NAME,
                version: self.version,
                newest: M::VERSION,
            }),
        }
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
        /// What serde said.
        #[source]
        source: serde_json::Error,
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

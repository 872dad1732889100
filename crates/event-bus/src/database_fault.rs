//! The one classification of database errors.

use std::error::Error as StdError;

use sqlx::Error;
use sqlx::error::DatabaseError;

/// What an error of PostgreSQL means for whoever caused it, by its SQLSTATE (Appendix A of
/// PostgreSQL's manual).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DatabaseFault {
    /// The database is unreachable, overloaded or going down. The same work succeeds later, and
    /// until then no other work does.
    ///
    /// Errors of the connection or the pool; class 08 (connection exception), 57P01–57P05
    /// (shutting down, starting up, session ended), 53300 (too many connections) and 25006 (a
    /// standby that accepts no writes).
    Outage,
    /// Concurrent transactions got into each other's way: 40001 (serialization failure) and 40P01
    /// (deadlock). The same work succeeds when it is repeated.
    Conflict,
    /// Class 22, data exception: the database will never accept these values.
    RefusedData,
    /// Class 23, integrity constraint violation. The work succeeds once the data it depends on
    /// allows it.
    ViolatedConstraint,
    /// Anything else, such as a table that does not exist.
    Other,
}

impl DatabaseFault {
    /// The fault behind an error.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Io(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => {
                Self::Outage
            }
            // A certificate that is refused stays so; a connection that is cut in a handshake does
            // not.
            Error::Tls(error) if error.downcast_ref::<std::io::Error>().is_some() => Self::Outage,
            Error::Database(error) => error
                .code()
                .map_or(Self::Other, |code| Self::of_code(&code)),
            _ => Self::Other,
        }
    }

    /// The fault behind an error or one of its causes, if one of them is the database's.
    pub fn behind(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<Error>() {
                return Some(Self::of(error));
            }
            cause = error.source();
        }
        None
    }

    fn of_code(code: &str) -> Self {
        match code {
            "53300" | "25006" => Self::Outage,
            "40001" | "40P01" => Self::Conflict,
            _ if code.starts_with("08") || code.starts_with("57P") => Self::Outage,
            _ if code.starts_with("22") => Self::RefusedData,
            _ if code.starts_with("23") => Self::ViolatedConstraint,
            _ => Self::Other,
        }
    }
}

/// Whether a lock was not available at once or within `lock_timeout` (55P03).
pub(crate) fn is_lock_unavailable(error: &Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == "55P03")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_known_by_the_code() {
        for (code, fault) in [
            ("08006", DatabaseFault::Outage),
            ("57P01", DatabaseFault::Outage),
            ("53300", DatabaseFault::Outage),
            ("25006", DatabaseFault::Outage),
            ("40001", DatabaseFault::Conflict),
            ("40P01", DatabaseFault::Conflict),
            ("40002", DatabaseFault::Other),
            ("22021", DatabaseFault::RefusedData),
            ("23514", DatabaseFault::ViolatedConstraint),
            // A statement that was cancelled, a table that does not exist.
            ("57014", DatabaseFault::Other),
            ("42P01", DatabaseFault::Other),
        ] {
            assert_eq!(DatabaseFault::of_code(code), fault, "{code}");
        }
    }

    #[test]
    fn a_fault_is_found_behind_other_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("the stock can't be counted")]
        struct Uncounted(#[source] Error);

        let error = Uncounted(Error::PoolClosed);
        assert_eq!(DatabaseFault::behind(&error), Some(DatabaseFault::Outage));
        assert_eq!(DatabaseFault::behind(&std::fmt::Error), None);
    }
}

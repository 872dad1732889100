//! Telling a database that is away from one that says no.

use sqlx::Error;
use sqlx::error::DatabaseError;

use crate::handler::HandlerError;

/// Whether the database could not be asked, or is going down: trying again will do, and until
/// then nothing can be stored either.
pub(crate) fn is(error: &Error) -> bool {
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        // Classes of Appendix A of PostgreSQL's manual: connection exception, and operator
        // intervention other than a cancelled statement; and too many connections, and a standby
        // that takes no writes.
        Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || code.starts_with("57P") || code == "53300" || code == "25006"
        }),
        _ => false,
    }
}

/// Whether the database takes everything but these very values, and will not take them next time
/// either: class 22 of the same appendix, data exception.
pub(crate) fn is_refusal_of_data(error: &Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22"))
}

/// Whether an outage, of whichever database, is among the causes of a handler's error.
pub(crate) fn is_behind(error: &HandlerError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.source.as_ref());
    while let Some(error) = cause {
        if error.downcast_ref::<Error>().is_some_and(is) {
            return true;
        }
        cause = error.source();
    }
    false
}

//! Telling a database that is away from one that says no.

use sqlx::Error;

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

/// The outage behind a handler's error, or the error back if it is the handler's own.
pub(crate) fn take(error: HandlerError) -> Result<Error, HandlerError> {
    let HandlerError { verdict, source } = error;
    match source.downcast::<Error>() {
        Ok(error) if is(&error) => Ok(*error),
        Ok(error) => Err(HandlerError {
            verdict,
            source: error,
        }),
        Err(source) => Err(HandlerError { verdict, source }),
    }
}

//! Keeps messages that may end the process apart from each other.
//!
//! A message whose last attempt did not end is a suspect. When the process ends, all attempts that
//! run in it come to no end, and each of their messages becomes one. If they were begun together
//! again, the innocent ones among them would share every crash of the guilty one and be given up
//! with it. So a process runs one suspect at a time, in whichever group it is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After this time a suspect that still runs is taken for slow, and the next one is admitted.
const LONGEST: Duration = Duration::from_secs(10);

/// When the suspect that runs was admitted.
static ADMITTED: Mutex<Option<Instant>> = Mutex::new(None);

/// The right to run a suspect, until dropped.
#[derive(Debug)]
pub(super) struct Admission(Instant);

/// Admits a suspect, unless one is running.
pub(super) fn admit() -> Option<Admission> {
    let mut admitted = ADMITTED.lock().unwrap_or_else(PoisonError::into_inner);
    if admitted.is_some_and(|since| since.elapsed() < LONGEST) {
        return None;
    }
    let now = Instant::now();
    *admitted = Some(now);
    Some(Admission(now))
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut admitted = ADMITTED.lock().unwrap_or_else(PoisonError::into_inner);
        if *admitted == Some(self.0) {
            *admitted = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_suspect_is_admitted_at_a_time() {
        let first = admit();
        assert!(first.is_some());
        assert!(admit().is_none());
        drop(first);
        assert!(admit().is_some());
    }
}

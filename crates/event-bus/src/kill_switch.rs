//! Pauses a handler that fails nearly always.
//!
//! When what a handler depends on is down, trying every message on it takes time from the others
//! and ends with all of them among the dead letters. So its messages are stored untried until one
//! of them, tried as a probe, succeeds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::signals;

/// In place of a pause that the clock can't count.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// When a handler is paused, and for how long.
///
/// It is there for outages of what a handler depends on. A failure that is the message's own does
/// not count: what a handler rejects, data that the database refuses, and a violated constraint say
/// nothing about the next message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KillSwitch {
    /// How many outcomes are looked back on, and needed before it trips. Default 20.
    pub window: usize,
    /// The share of failures among them at which it trips, 0 to 1. Default 0.9.
    pub failure_share: f64,
    /// How long the handler is paused before a probe. Doubles with each probe that fails.
    /// Default 5 s.
    pub pause: Duration,
    /// The longest pause. Default 5 min.
    pub max_pause: Duration,
}

impl Default for KillSwitch {
    fn default() -> Self {
        Self {
            window: 20,
            failure_share: 0.9,
            pause: Duration::from_secs(5),
            max_pause: Duration::from_secs(300),
        }
    }
}

/// The switches of a group's handlers, by their names.
#[derive(Debug)]
pub(crate) struct Switches {
    /// `None` if handlers are never paused.
    settings: Option<KillSwitch>,
    by_handler: HashMap<&'static str, Mutex<Switch>>,
}

#[derive(Debug, Default)]
struct Switch {
    /// The last outcomes; `true` is a failure.
    outcomes: VecDeque<bool>,
    paused: Option<Paused>,
}

#[derive(Debug, Clone, Copy)]
struct Paused {
    until: Instant,
    pause: Duration,
    probing: bool,
}

impl Switches {
    pub(crate) fn new(
        settings: Option<KillSwitch>,
        handlers: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let by_handler = handlers.into_iter().map(|name| (name, Mutex::default()));
        Self {
            settings,
            by_handler: by_handler.collect(),
        }
    }

    /// How long the handler's messages have to wait, if it is paused. Zero if a probe is due.
    pub(crate) fn pause_of(&self, handler: &str) -> Option<Duration> {
        let now = Instant::now();
        self.with(handler, |switch| {
            switch
                .paused
                .map(|paused| paused.until.saturating_duration_since(now))
        })
        .flatten()
    }

    /// The handlers that may be given stored messages now.
    pub(crate) fn admitted(&self) -> Vec<String> {
        let now = Instant::now();
        let is_admitted = |handler: &&str| {
            let admitted = self.with(handler, |switch| {
                switch
                    .paused
                    .is_none_or(|paused| paused.until <= now && !paused.probing)
            });
            admitted.unwrap_or(true)
        };
        let handlers = self.by_handler.keys().copied();
        handlers.filter(is_admitted).map(str::to_owned).collect()
    }

    /// The handlers that are paused, sorted.
    pub(crate) fn paused(&self) -> Vec<&'static str> {
        let handlers = self.by_handler.keys().copied();
        let mut paused: Vec<_> = handlers
            .filter(|handler| self.pause_of(handler).is_some())
            .collect();
        paused.sort_unstable();
        paused
    }

    /// Asks to give the handler a stored message. If it is paused that is the probe, and there is
    /// no other one until it has ended.
    pub(crate) fn attempt(&self, handler: &str) -> Option<Attempt<'_>> {
        let now = Instant::now();
        let is_probe = self.with(handler, |switch| match &mut switch.paused {
            None => Some(false),
            Some(paused) if paused.until <= now && !paused.probing => {
                paused.probing = true;
                Some(true)
            }
            Some(_) => None,
        });
        Some(Attempt {
            switches: self,
            handler: handler.to_owned(),
            is_probe: is_probe.unwrap_or(Some(false))?,
        })
    }

    /// Notes that the handler did its work, for so many messages.
    pub(crate) fn succeeded(&self, handler: &str, messages: usize) {
        let Some(settings) = self.settings.filter(|_| messages > 0) else {
            return;
        };
        let resumed = self.with(handler, |switch| {
            for _ in 0..messages.min(settings.window) {
                switch.note(false, settings.window);
            }
            let resumed = switch.paused.take().is_some();
            if resumed {
                switch.outcomes.clear();
            }
            resumed
        });
        if resumed == Some(true) {
            tracing::info!(handler, "a paused handler works again and is resumed");
            signals::paused(handler, false);
        }
    }

    /// Notes that the handler failed in a way that may pass.
    pub(crate) fn failed(&self, handler: &str) {
        let Some(settings) = self.settings else {
            return;
        };
        let pause = self.with(handler, |switch| switch.fail(&settings));
        if let Some(pause) = pause.flatten() {
            tracing::error!(
                handler,
                ?pause,
                "a handler fails nearly always and is paused; its messages are kept"
            );
            signals::paused(handler, true);
        }
    }

    fn with<T>(&self, handler: &str, act: impl FnOnce(&mut Switch) -> T) -> Option<T> {
        let switch = self.by_handler.get(handler)?;
        let mut switch = switch.lock().unwrap_or_else(PoisonError::into_inner);
        Some(act(&mut switch))
    }
}

impl Switch {
    fn note(&mut self, failed: bool, window: usize) {
        self.outcomes.push_back(failed);
        while self.outcomes.len() > window {
            self.outcomes.pop_front();
        }
    }

    /// Notes a failure. Returns for how long the handler is paused, if it is from now on.
    fn fail(&mut self, settings: &KillSwitch) -> Option<Duration> {
        let pause = match self.paused {
            Some(paused) if paused.probing => {
                paused.pause.saturating_mul(2).min(settings.max_pause)
            }
            // Whatever was under way when it was paused.
            Some(_) => return None,
            None => {
                self.note(true, settings.window);
                let failures = self.outcomes.iter().filter(|failed| **failed).count();
                let share = failures as f64 / settings.window.max(1) as f64;
                if self.outcomes.len() < settings.window || share < settings.failure_share {
                    return None;
                }
                settings.pause
            }
        };
        let now = Instant::now();
        self.paused = Some(Paused {
            until: now.checked_add(pause).unwrap_or(now + LONGEST_PAUSE),
            pause,
            probing: false,
        });
        Some(pause)
    }
}

/// The right to give a handler one stored message.
///
/// What becomes of it counts only if it is a probe: a message that keeps failing is no sign that
/// all do.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    switches: &'a Switches,
    handler: String,
    is_probe: bool,
}

impl Attempt<'_> {
    pub(crate) fn succeeded(self) {
        if self.is_probe {
            self.switches.succeeded(&self.handler, 1);
        }
    }

    pub(crate) fn failed(self) {
        if self.is_probe {
            self.switches.failed(&self.handler);
        }
    }
}

impl Drop for Attempt<'_> {
    /// Lets another one probe, if nothing came of this one.
    fn drop(&mut self) {
        if self.is_probe {
            self.switches.with(&self.handler, |switch| {
                if let Some(paused) = &mut switch.paused {
                    paused.probing = false;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches() -> Switches {
        let settings = KillSwitch {
            window: 10,
            failure_share: 0.9,
            pause: Duration::ZERO,
            max_pause: Duration::from_secs(60),
        };
        Switches::new(Some(settings), ["mail"])
    }

    #[test]
    fn it_trips_when_nearly_all_of_the_window_failed() {
        let switches = switches();
        switches.succeeded("mail", 2);
        for _ in 0..8 {
            switches.failed("mail");
        }
        assert_eq!(switches.pause_of("mail"), None, "8 of 10");
        switches.failed("mail");
        assert!(switches.pause_of("mail").is_some(), "9 of 10");
        assert_eq!(switches.paused(), ["mail"]);
    }

    /// A message that was taken before, or was put aside, says nothing of the handler.
    #[test]
    fn what_was_not_given_to_a_handler_does_not_resume_it() {
        let switches = switches();
        for _ in 0..10 {
            switches.failed("mail");
        }
        switches.succeeded("mail", 0);
        assert_eq!(switches.paused(), ["mail"]);
    }

    #[test]
    fn it_takes_a_whole_window_to_trip() {
        let switches = switches();
        for _ in 0..9 {
            switches.failed("mail");
        }
        assert_eq!(switches.pause_of("mail"), None);
    }

    #[test]
    fn one_probe_at_a_time_decides_whether_it_resumes() {
        let switches = switches();
        for _ in 0..10 {
            switches.failed("mail");
        }
        let probe = switches.attempt("mail");
        assert!(probe.is_some());
        assert!(switches.attempt("mail").is_none(), "a second probe");
        assert!(switches.admitted().is_empty());
        drop(probe);
        assert!(
            switches.attempt("mail").is_some(),
            "the first came to nothing"
        );
        switches.attempt("mail").expect("a third").succeeded();
        assert_eq!(switches.pause_of("mail"), None);
        assert_eq!(switches.admitted(), ["mail"]);
    }

    #[test]
    fn a_probe_that_fails_doubles_the_pause() {
        let settings = KillSwitch {
            window: 1,
            failure_share: 1.0,
            pause: Duration::from_millis(1),
            max_pause: Duration::from_secs(60),
        };
        let switches = Switches::new(Some(settings), ["mail"]);
        switches.failed("mail");
        for _ in 0..12 {
            while switches.pause_of("mail") > Some(Duration::ZERO) {
                if switches.pause_of("mail") > Some(Duration::from_millis(500)) {
                    return;
                }
                std::thread::yield_now();
            }
            switches.attempt("mail").expect("a probe is due").failed();
        }
        panic!("the pause did not grow: {:?}", switches.pause_of("mail"));
    }
}

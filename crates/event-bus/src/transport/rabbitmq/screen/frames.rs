//! Frames, of which those are held and looked at that carry what a publisher wrote.
//!
//! A frame is its type, its channel, the size of its payload, the payload, and an end octet. A
//! message comes as a method frame that names its exchange and routing key, a header frame with the
//! size of its body and its properties, and body frames.

use std::collections::HashMap;

use super::{FRAME_MAX, REFUSED, properties};
use crate::envelope::MAX_BODY_BYTES;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;
/// Type, channel, size.
const HEAD: usize = 7;

/// Longer than a method can be that hands over a message: four short strings and some numbers.
const LONGEST_DELIVERY: usize = 1100;
/// Of a header frame: class, weight and the size of the body.
const BEFORE_PROPERTIES: usize = 12;
/// The largest header frame that is passed on, as the client takes no larger frame. Other clients may
/// publish with larger ones, the broker adds headers of its own to a message it delivers again, and it
/// can't part a header frame to keep to the negotiated size.
const LARGEST_HEADER: usize = FRAME_MAX as usize - HEAD - 1;
/// What is kept of a body over the limit: enough to tell that it is.
const CUT_AT: usize = MAX_BODY_BYTES + 1;

/// Passes on the frames of one connection.
#[derive(Debug)]
pub(super) struct Screen {
    state: State,
    /// The frame at hand, as far as it has to be held.
    held: Vec<u8>,
    /// Channels in the middle of a message that is not passed on as it is.
    suspects: HashMap<u16, Suspect>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Holds this many bytes before it goes on: of a head, or of a frame.
    Holding(usize),
    /// Passes this many bytes on.
    Passing(usize),
    /// Passes so many bytes of a payload on, ends the frame there, and leaves the rest out.
    Cutting { pass: usize, omit: usize },
    /// Leaves this many bytes out.
    Omitting(usize),
}

#[derive(Debug, Default)]
struct Suspect {
    /// What is wrong with the method frame.
    objection: Option<String>,
    /// How much of a body that is cut will still come, and how much of that is passed on.
    to_come: u64,
    to_pass: usize,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            state: State::Holding(HEAD),
            held: Vec::new(),
            suspects: HashMap::new(),
        }
    }
}

impl Screen {
    /// Takes what was read and appends what may be handed on.
    pub(super) fn pass(&mut self, mut read: &[u8], clean: &mut Vec<u8>) {
        while !read.is_empty() {
            match self.state {
                State::Holding(wanted) => {
                    let count = read.len().min(wanted - self.held.len());
                    self.held.extend_from_slice(&read[..count]);
                    read = &read[count..];
                    if self.held.len() == wanted {
                        self.judge(clean);
                    }
                }
                State::Passing(left) => {
                    let (passed, rest) = read.split_at(left.min(read.len()));
                    clean.extend_from_slice(passed);
                    read = rest;
                    self.go_on(State::Passing, left - passed.len());
                }
                State::Cutting { pass, omit } => {
                    let (passed, rest) = read.split_at(pass.min(read.len()));
                    clean.extend_from_slice(passed);
                    read = rest;
                    let pass = pass - passed.len();
                    if pass == 0 {
                        clean.push(END);
                        self.go_on(State::Omitting, omit);
                    } else {
                        self.state = State::Cutting { pass, omit };
                    }
                }
                State::Omitting(left) => {
                    let omitted = left.min(read.len());
                    read = &read[omitted..];
                    self.go_on(State::Omitting, left - omitted);
                }
            }
        }
    }

    /// Decides on the frame at hand: by its head, or by as much of it as was asked for.
    fn judge(&mut self, clean: &mut Vec<u8>) {
        let (kind, channel, size) = head(&self.held);
        let whole = HEAD.saturating_add(size).saturating_add(1);
        if self.held.len() == HEAD {
            match kind {
                METHOD if size <= LONGEST_DELIVERY => self.state = State::Holding(whole),
                HEADER if size > LARGEST_HEADER => {
                    self.state = State::Holding(HEAD + BEFORE_PROPERTIES);
                }
                HEADER if size >= BEFORE_PROPERTIES => self.state = State::Holding(whole),
                BODY => self.screen_body(channel, size, clean),
                METHOD | HEADER | HEARTBEAT => self.let_go(whole - HEAD, clean),
                // No AMQP 0-9-1: the broker refuses the protocol, which is the client's to tell.
                _ => self.let_go(usize::MAX, clean),
            }
        } else {
            let omit = whole - self.held.len();
            match kind {
                METHOD => self.screen_method(channel),
                _ => self.screen_header(channel, size),
            }
            clean.append(&mut self.held);
            self.go_on(State::Omitting, omit);
        }
    }

    /// Passes on what is held, and as many bytes after it.
    fn let_go(&mut self, more: usize, clean: &mut Vec<u8>) {
        clean.append(&mut self.held);
        self.go_on(State::Passing, more);
    }

    /// Stays in a state until it has nothing left to do; then a new frame begins.
    fn go_on(&mut self, state: impl Fn(usize) -> State, left: usize) {
        self.state = if left == 0 {
            self.held.clear();
            State::Holding(HEAD)
        } else {
            state(left)
        };
    }

    /// Exchange and routing key are the publisher's. The client must be able to read them, and the
    /// message must not be handled under other ones: its properties will be refused.
    fn screen_method(&mut self, channel: u16) {
        let Some(strings) = properties::publishers_strings(&self.held[HEAD..]) else {
            return;
        };
        // Of an earlier message on the channel there is nothing to come any more.
        self.suspects.remove(&channel);
        for (what, range) in strings {
            let bytes = &mut self.held[HEAD..][range];
            if std::str::from_utf8(bytes).is_err() {
                let objection = format!("its {what} is not UTF-8");
                bytes.fill(b'?');
                self.suspects.entry(channel).or_default().objection = Some(objection);
            }
        }
    }

    fn screen_header(&mut self, channel: u16, size: usize) {
        let mut suspect = self.suspects.remove(&channel).unwrap_or_default();
        let content = &mut self.held[HEAD..];
        if size > LARGEST_HEADER {
            let objection = format!(
                "its properties are {size} bytes, more than the {LARGEST_HEADER} that are read"
            );
            suspect.objection.get_or_insert(objection);
        } else if suspect.objection.is_none() {
            suspect.objection = properties::objection(&content[BEFORE_PROPERTIES..size]);
        }
        let (_, body_size) = content[..BEFORE_PROPERTIES].split_at_mut(4);
        suspect.to_come = body_size
            .iter()
            .fold(0, |size, byte| size << 8 | u64::from(*byte));
        if suspect.to_come > CUT_AT as u64 {
            suspect.to_pass = CUT_AT;
            body_size.copy_from_slice(&(CUT_AT as u64).to_be_bytes());
        }
        if let Some(objection) = suspect.objection.take() {
            self.refuse(&objection);
        }
        if suspect.to_pass > 0 {
            self.suspects.insert(channel, suspect);
        }
    }

    /// Puts the one header that says why in the place of all properties.
    fn refuse(&mut self, objection: &str) {
        self.held.truncate(HEAD + BEFORE_PROPERTIES);
        self.held
            .extend(properties::with_header(REFUSED, objection));
        self.set_size(self.held.len() - HEAD);
        self.held.push(END);
    }

    fn screen_body(&mut self, channel: u16, size: usize, clean: &mut Vec<u8>) {
        let end = 1;
        let Some(suspect) = self.suspects.get_mut(&channel) else {
            return self.let_go(size.saturating_add(end), clean);
        };
        let pass = size.min(suspect.to_pass);
        suspect.to_pass -= pass;
        suspect.to_come = suspect.to_come.saturating_sub(size as u64);
        if suspect.to_come == 0 {
            self.suspects.remove(&channel);
        }
        if pass == 0 {
            self.held.clear();
            self.state = State::Omitting(size + end);
        } else {
            self.set_size(pass);
            clean.append(&mut self.held);
            let omit = size - pass + end;
            self.state = State::Cutting { pass, omit };
        }
    }

    /// Writes the size of the payload into the head.
    fn set_size(&mut self, size: usize) {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.held[3..HEAD].copy_from_slice(&size.to_be_bytes());
    }
}

fn head(frame: &[u8]) -> (u8, u16, usize) {
    match *frame {
        [kind, c0, c1, s0, s1, s2, s3, ..] => {
            let size = u32::from_be_bytes([s0, s1, s2, s3]);
            let channel = u16::from_be_bytes([c0, c1]);
            (kind, channel, usize::try_from(size).unwrap_or(usize::MAX))
        }
        _ => unreachable!("a frame is looked at once its head is there"),
    }
}

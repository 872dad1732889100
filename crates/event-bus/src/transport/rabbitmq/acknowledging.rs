//! Acknowledging deliveries with few frames.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lapin::Channel;
use lapin::options::BasicAckOptions;

use crate::transport::{Acknowledge, Receipt};

/// Acknowledges on one channel, as many as possible with one frame.
#[derive(Debug)]
pub(super) struct ChannelAcknowledge {
    channel: Channel,
    tags: Mutex<Tags>,
    /// Held from the choice of frames until they are queued: a frame for tags that another one
    /// has answered for already is an error that closes the channel.
    sending: tokio::sync::Mutex<()>,
}

impl ChannelAcknowledge {
    pub(super) fn new(channel: Channel, prefetch: u16) -> Self {
        let tags = Tags {
            most_held_back: usize::from(prefetch / 2),
            ..Tags::default()
        };
        Self {
            channel,
            tags: Mutex::new(tags),
            sending: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn receipt(self: Arc<Self>, tag: u64) -> Receipt {
        self.tags().outstanding.insert(tag);
        Receipt::new(tag, self)
    }

    fn tags(&self) -> MutexGuard<'_, Tags> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers for everything that is settled or will be, at once.
    pub(super) async fn hold_nothing_back(&self) {
        self.tags().most_held_back = 0;
        self.acknowledge(&[]).await;
    }
}

#[async_trait]
impl Acknowledge for ChannelAcknowledge {
    async fn acknowledge(&self, tags: &[u64]) {
        let _sending = self.sending.lock().await;
        let frames = self.tags().settle(tags);
        for (tag, multiple) in frames {
            // If the channel is gone, the messages come again and the inbox knows them.
            let _ = self
                .channel
                .basic_ack(tag, BasicAckOptions { multiple })
                .await;
        }
    }

    fn is_open(&self) -> bool {
        self.channel.status().connected()
    }
}

/// What a channel has delivered and not been answered for.
///
/// A frame answers for all tags up to one, or for one alone, and costs the broker the same. So what
/// comes behind something outstanding is held back until that is settled as well. With two workers
/// batches often end out of turn, and would cost a frame for each message.
#[derive(Debug, Default)]
struct Tags {
    /// Nobody has settled them.
    outstanding: BTreeSet<u64>,
    /// They are settled, and come behind one that is outstanding.
    held_back: BTreeSet<u64>,
    /// What is held back counts as under way, so more would use up the prefetch.
    most_held_back: usize,
}

impl Tags {
    /// Settles messages, and says which frames answer for them: (tag, multiple).
    fn settle(&mut self, tags: &[u64]) -> Vec<(u64, bool)> {
        let settled = tags.iter().filter(|tag| self.outstanding.remove(tag));
        self.held_back.extend(settled);
        let behind = match self.outstanding.first() {
            Some(first) => self.held_back.split_off(first),
            None => BTreeSet::new(),
        };
        let before = std::mem::replace(&mut self.held_back, behind);
        let mut frames = Vec::from_iter(before.last().map(|tag| (*tag, true)));
        if self.held_back.len() > self.most_held_back {
            let single = std::mem::take(&mut self.held_back);
            frames.extend(single.into_iter().map(|tag| (tag, false)));
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(tags: impl IntoIterator<Item = u64>, most_held_back: usize) -> Tags {
        Tags {
            outstanding: tags.into_iter().collect(),
            held_back: BTreeSet::new(),
            most_held_back,
        }
    }

    #[test]
    fn one_frame_answers_for_everything_before_the_first_outstanding_delivery() {
        let mut tags = delivered(1..=6, 3);
        assert_eq!(tags.settle(&[1, 2]), [(2, true)]);
        assert_eq!(tags.settle(&[4, 5]), []);
        assert_eq!(tags.settle(&[3]), [(5, true)]);
        assert_eq!(tags.settle(&[6]), [(6, true)]);
    }

    #[test]
    fn no_more_is_held_back_than_agreed() {
        let mut tags = delivered(1..=6, 2);
        assert_eq!(tags.settle(&[3, 4]), []);
        let each = [(3, false), (4, false), (6, false)];
        assert_eq!(tags.settle(&[6]), each);
        assert_eq!(tags.settle(&[1, 2]), [(2, true)]);
        assert_eq!(tags.settle(&[5]), [(5, true)]);
    }
}

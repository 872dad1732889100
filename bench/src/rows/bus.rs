//! The relay and the dispatcher, measured separately.

use crate::limits::{Limits, USUAL_BODY};
use crate::participants::{Participants, Role};
use crate::report::Figure;
use crate::report::Unit::PerSecond;

const MESSAGES: i64 = 100_000;
const SMALL_BACKLOG: i64 = 10_000;
const BACKLOG: i64 = 1_000_000;
/// A small backlog is drained in less than a second, so the median of several runs is used.
const TRIES: usize = 5;

/// The row `relay`: from a full outbox into a queue.
pub(super) async fn relay(limits: &Limits) -> anyhow::Result<Vec<Figure>> {
    let limit = limits.broker().await?.publishing;
    let participants = Participants::prepare().await?;
    let rate = participants.relay(MESSAGES, USUAL_BODY).await?;
    Ok(vec![
        Figure::new("relay", "from a full outbox", rate, PerSecond)
            .of("bare publisher", limit)
            .at_least(0.8),
    ])
}

/// The row `dispatcher`: from a full queue into a table.
pub(super) async fn dispatcher(limits: &Limits) -> anyhow::Result<Vec<Figure>> {
    let limit = limits.broker().await?.consuming;
    let participants = Participants::prepare().await?;
    let mut figures = Vec::new();
    for (what, role) in [
        ("a row per message, a statement per batch", Role::Set),
        ("a row and a statement per message", Role::OneByOne),
    ] {
        participants.relay(MESSAGES, USUAL_BODY).await?;
        let rate = participants.consume(role, MESSAGES).await?;
        figures.push(
            Figure::new("dispatcher", what, rate, PerSecond)
                .of("bare consumer", limit)
                .at_least(0.6),
        );
    }
    participants.relay(MESSAGES, USUAL_BODY).await?;
    let same_messages = participants.take_bare(MESSAGES).await?;
    figures.push(
        Figure::new(
            "dispatcher",
            "bare consumer of the bus's messages",
            same_messages,
            PerSecond,
        )
        .of("bare consumer", limit),
    );
    Ok(figures)
}

/// The row `backlog`: a million messages in the outbox.
pub(super) async fn backlog() -> anyhow::Result<Vec<Figure>> {
    let participants = Participants::prepare().await?;
    let mut small = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        small.push(participants.relay(SMALL_BACKLOG, USUAL_BODY).await?);
    }
    small.sort_by(f64::total_cmp);
    let rate = participants.relay(BACKLOG, USUAL_BODY).await?;
    Ok(vec![
        Figure::new("backlog", "1,000,000 rows in the outbox", rate, PerSecond)
            .of("10,000 rows", small[TRIES / 2])
            .at_least(0.8),
    ])
}

//! Queries over RabbitMQ.
//!
//! A query goes by the direct exchange `queries` to a queue of the service that answers it, and is
//! returned at once if there is none. Its reply comes by
//! [direct reply-to](https://www.rabbitmq.com/docs/direct-reply-to): no queue is made for it, and
//! one channel of the asker carries all its queries in flight, told apart by correlation id.
//!
//! Neither is persistent: whoever asks is waiting, and asks again if need be.

mod answering;
mod asking;
mod pending;
mod reply_to;
mod wire;

pub(super) use self::answering::run as answer;
pub(super) use self::asking::Asker;
pub(super) use self::reply_to::ReplyChannel;

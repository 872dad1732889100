//! What the broker sends, screened before the AMQP client parses it.
//!
//! A publisher chooses the bytes of its message's properties and of its routing key, and the broker
//! passes them on as they are. There are bytes that end the client: a short string that is not
//! UTF-8 and a frame over the negotiated size end its connection, tables nested some thousands deep
//! end the process by its stack. The message would come again with the next connection, and its
//! queue would never get past it. So these bytes do not reach the client:
//!
//! - The properties of such a message are replaced by the single header [`REFUSED`], which says what
//!   was wrong with them. `wire` makes a malformed message of that, and so it becomes a dead letter.
//! - A body over the limit is cut right behind the limit, so that a few thousand messages of the
//!   broker's largest size do not have to fit into memory to be refused.
//!
//! Everything else passes through unchanged. The screen sits above TLS, and knows of AMQP 0-9-1 no
//! more than the layout of frames and of content headers.

mod connect;
mod frames;
mod properties;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

pub(super) use self::connect::connect;
use self::frames::Screen;

/// The header that replaces properties which the client must not see. Its value says why.
pub(super) const REFUSED: &str = "event-bus-refused";

/// The size of a frame that is negotiated with the broker, in bytes. The client keeps thirty-two of
/// them ready for each direction of a connection, which at the broker's own 128 KiB would be most of
/// a service's memory.
const FRAME_MAX: u32 = 32 * 1024;

/// A few frames, so that large bodies take few calls.
const READ_BYTES: usize = 64 * 1024;

/// A connection whose incoming half is screened.
pub(super) struct Screened<S> {
    stream: S,
    screen: Screen,
    read: Box<[u8]>,
    /// What has passed the screen, and how much of it was handed on.
    clean: Vec<u8>,
    handed_on: usize,
}

impl<S> Screened<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            screen: Screen::default(),
            read: vec![0; READ_BYTES].into(),
            clean: Vec::with_capacity(READ_BYTES),
            handed_on: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Screened<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.handed_on == this.clean.len() {
            let stream = Pin::new(&mut this.stream);
            let read = ready!(stream.poll_read(context, &mut this.read))?;
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            this.clean.clear();
            this.handed_on = 0;
            this.screen.pass(&this.read[..read], &mut this.clean);
        }
        let waiting = &this.clean[this.handed_on..];
        let count = waiting.len().min(buffer.len());
        buffer[..count].copy_from_slice(&waiting[..count]);
        this.handed_on += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Screened<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(context)
    }
}

/// What passes when the bytes are read in pieces of these sizes, the last one as often as needed.
#[cfg(any(test, fuzzing))]
pub(super) fn screened(bytes: &[u8], pieces: &[usize]) -> Vec<u8> {
    let (mut screen, mut clean, mut rest) = (Screen::default(), Vec::new(), bytes);
    let last = pieces.last().copied().unwrap_or(usize::MAX);
    for piece in pieces.iter().copied().chain(std::iter::repeat(last)) {
        if rest.is_empty() {
            break;
        }
        let (piece, more) = rest.split_at(piece.clamp(1, rest.len()));
        screen.pass(piece, &mut clean);
        rest = more;
    }
    clean
}

#[cfg(test)]
mod tests;

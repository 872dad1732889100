//! Connecting the AMQP client through the screen.
//!
//! The client takes no stream but that of its runtime, so [`Screening`] is a runtime whose streams
//! are screened, and Tokio in everything else.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio, TokioRuntime};
use futures::Stream;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::tcp::{AMQPUriTcpExt as _, AsyncTcpStream};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};

use super::{FRAME_MAX, Screened};

/// Screened above TLS, where what is read is AMQP.
type ScreenedTcpStream = Screened<AsyncTcpStream<<Tokio as Reactor>::TcpStream>>;

/// Connects to a broker.
pub(in super::super) async fn connect(
    mut address: AMQPUri,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    // Whatever the address says: the screen lets pass what fits into this.
    address.query.frame_max = Some(FRAME_MAX);
    let tokio = TokioRuntime::tokio_current();
    let runtime = Runtime::new(Screening(tokio.clone()));
    let open = async move |address: AMQPUri, _runtime: Runtime<Screening>| {
        let stream = address.connect_async(&tokio).await?;
        Ok(AsyncTcpStream::Plain(Screened::new(stream)))
    };
    Connection::connector(address, runtime, open, properties).await
}

#[derive(Debug, Clone)]
struct Screening(TokioRuntime);

impl RuntimeKit for Screening {}

impl Executor for Screening {
    type Task<T: Send + 'static> = <TokioRuntime as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Screening {
    type TcpStream = ScreenedTcpStream;
    type Sleep = <TokioRuntime as Reactor>::Sleep;

    /// For sockets of other making, of which the client has none.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<ScreenedTcpStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Screened::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

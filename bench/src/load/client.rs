//! One HTTP connection, kept open.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A client with one connection.
pub(super) struct Client {
    address: String,
    connection: SendRequest<Full<Bytes>>,
}

/// What a request came to.
pub(super) enum Answer {
    /// It did what it should.
    Done,
    /// The service has more to do than it takes, and says when to come again.
    Busy { retry_after: Duration },
    /// Anything else.
    Failed(StatusCode),
}

impl Client {
    /// Connects to `host:port`.
    pub(super) async fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("can't connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self {
            address: address.to_owned(),
            connection,
        })
    }

    /// Posts JSON and reads the whole answer.
    pub(super) async fn post(&mut self, path: &str, body: Bytes) -> anyhow::Result<Answer> {
        let request = Request::post(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        self.connection.ready().await?;
        let response = self.connection.send_request(request).await?;
        let (head, body) = response.into_parts();
        body.collect().await?;
        Ok(match head.status {
            status if status.is_success() => Answer::Done,
            StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = head.headers.get(RETRY_AFTER);
                let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
                Answer::Busy {
                    retry_after: Duration::from_secs(seconds.unwrap_or(1)),
                }
            }
            status => Answer::Failed(status),
        })
    }
}

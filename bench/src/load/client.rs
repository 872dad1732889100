//! A minimal HTTP client.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An HTTP/1.1 client with one persistent connection.
pub(super) struct Client {
    address: String,
    connection: SendRequest<Full<Bytes>>,
}

/// The result of a request.
pub(super) enum Answer {
    /// The service returned a success status.
    Done,
    /// The service is overloaded: 503 with the time after which to retry.
    Busy { retry_after: Duration },
    /// The service returned another status.
    Failed(StatusCode),
}

impl Client {
    /// Connects to `host:port`.
    pub(super) async fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self {
            address: address.to_owned(),
            connection,
        })
    }

    /// Posts JSON and reads the whole response.
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

//! A publisher that writes AMQP 0-9-1 by hand, and so may write what no client would.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;
const FRAME_MAX: usize = 131_072;

/// A connection with one channel, in confirm mode.
pub(crate) struct RawAmqp(TcpStream);

/// What the broker said when it closed the channel or the connection; nothing if it just went.
#[derive(Debug)]
pub(crate) struct Refused(
    #[expect(dead_code, reason = "it is for whoever reads the failure")] String,
);

impl RawAmqp {
    /// Connects as `amqp://user:password@host:port/vhost` says.
    pub(crate) async fn connect(url: &str) -> Self {
        let rest = url.strip_prefix("amqp://").expect("an AMQP address");
        let (login, rest) = rest.split_once('@').expect("a user");
        let (user, password) = login.split_once(':').expect("a password");
        let (address, vhost) = rest.split_once('/').expect("a virtual host");
        let mut raw = Self(TcpStream::connect(address).await.expect("a broker"));
        raw.0
            .write_all(b"AMQP\0\0\x09\x01")
            .await
            .expect("it is sent");
        raw.expect([0, 10, 0, 10]).await.expect("connection.start");
        let start_ok = [
            &[0, 10, 0, 11, 0, 0, 0, 0][..],
            &short_string(b"PLAIN"),
            &long_string(format!("\0{user}\0{password}").as_bytes()),
            &short_string(b"en_US"),
        ];
        raw.send(METHOD, 0, &start_ok.concat()).await;
        raw.expect([0, 10, 0, 30]).await.expect("connection.tune");
        let frame_max = u32::try_from(FRAME_MAX).expect("it fits").to_be_bytes();
        let tune_ok = [&[0, 10, 0, 31, 0, 1][..], &frame_max, &[0, 0]].concat();
        raw.send(METHOD, 0, &tune_ok).await;
        let open = [
            &[0, 10, 0, 40],
            &short_string(vhost.as_bytes())[..],
            &[0, 0],
        ];
        raw.call(0, &open.concat(), [0, 10, 0, 41]).await;
        raw.call(1, &[0, 20, 0, 10, 0], [0, 20, 0, 11]).await;
        raw.call(1, &[0, 85, 0, 10, 0], [0, 85, 0, 11]).await;
        raw
    }

    /// Publishes, and waits until the broker has taken the message.
    pub(crate) async fn publish(
        &mut self,
        way: (&[u8], &[u8]),
        properties: &Properties,
        body: &[u8],
    ) -> Result<(), Refused> {
        self.write(way, properties, body.len(), body).await;
        self.expect([0, 60, 0, 80]).await
    }

    /// Writes a message for an exchange and a routing key, of which it says how large the body is.
    pub(crate) async fn write(
        &mut self,
        (exchange, routing_key): (&[u8], &[u8]),
        properties: &Properties,
        body_size: usize,
        body: &[u8],
    ) {
        let method = [
            &[0, 60, 0, 40, 0, 0][..],
            &short_string(exchange),
            &short_string(routing_key),
            &[0],
        ];
        self.send(METHOD, 1, &method.concat()).await;
        let size = u64::try_from(body_size).expect("it fits").to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &size, &properties.encode()];
        self.send(HEADER, 1, &header.concat()).await;
        for part in body.chunks(FRAME_MAX - 8) {
            self.send(BODY, 1, part).await;
        }
    }

    async fn call(&mut self, channel: u16, method: &[u8], answer: [u8; 4]) {
        self.send(METHOD, channel, method).await;
        self.expect(answer).await.expect("the broker agrees");
    }

    /// What the broker does not want to read any more can't be sent, which the answer tells.
    async fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).expect("it fits").to_be_bytes();
        let channel = channel.to_be_bytes();
        let frame = [&[kind][..], &channel, &size, payload, &[FRAME_END]].concat();
        let _ = self.0.write_all(&frame).await;
    }

    async fn expect(&mut self, method: [u8; 4]) -> Result<(), Refused> {
        loop {
            let mut head = [0; 7];
            self.0
                .read_exact(&mut head)
                .await
                .map_err(|error| Refused(error.to_string()))?;
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
            let mut payload = vec![0; usize::try_from(size).expect("it fits") + 1];
            self.0
                .read_exact(&mut payload)
                .await
                .map_err(|error| Refused(error.to_string()))?;
            match payload[..] {
                [0, 10, 0, 50, _, _, ref text @ ..] | [0, 20, 0, 40, _, _, ref text @ ..] => {
                    return Err(Refused(text.escape_ascii().to_string()));
                }
                _ if head[0] == METHOD && payload.starts_with(&method) => return Ok(()),
                _ => {}
            }
        }
    }
}

/// The properties of a message, as bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Properties([Option<Vec<u8>>; 14]);

/// Where a property stands among the fourteen.
pub(crate) const HEADERS: usize = 2;
pub(crate) const MESSAGE_ID: usize = 8;
pub(crate) const TYPE: usize = 10;
pub(crate) const APP_ID: usize = 12;

impl Properties {
    /// An id and a type.
    pub(crate) fn named(name: &str) -> Self {
        Self::default()
            .text(MESSAGE_ID, uuid::Uuid::now_v7().to_string().as_bytes())
            .text(TYPE, name.as_bytes())
    }

    pub(crate) fn text(self, index: usize, text: &[u8]) -> Self {
        self.raw(index, short_string(text))
    }

    /// Headers, as the inside of a table.
    pub(crate) fn headers(self, table: &[u8]) -> Self {
        self.raw(HEADERS, long_string(table))
    }

    pub(crate) fn raw(mut self, index: usize, bytes: Vec<u8>) -> Self {
        self.0[index] = Some(bytes);
        self
    }

    fn encode(&self) -> Vec<u8> {
        let there = (0..14).filter(|index| self.0[*index].is_some());
        let flags = there.fold(0u16, |flags, index| flags | 1 << (15 - index));
        let fields = self.0.iter().flatten().flatten().copied();
        flags.to_be_bytes().into_iter().chain(fields).collect()
    }
}

/// A header with a text.
pub(crate) fn header(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&short_string(name)[..], b"S", &long_string(value)].concat()
}

/// A header with any value: its type and its bytes.
pub(crate) fn typed_header(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short_string(name)[..], &[kind], value].concat()
}

pub(crate) fn short_string(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short string");
    [&[length], text].concat()
}

pub(crate) fn long_string(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a long string");
    [&length.to_be_bytes()[..], text].concat()
}

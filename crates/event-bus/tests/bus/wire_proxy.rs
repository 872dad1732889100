//! A proxy in front of a broker that knows frames: it falls silent, and says in the broker's name
//! what the broker would say only if it were short of memory, or after half an hour.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

const METHOD: u8 = 1;
const FRAME_END: u8 = 0xce;
const CONNECTION_BLOCKED: [u16; 2] = [10, 60];
const CONNECTION_UNBLOCKED: [u16; 2] = [10, 61];
const CHANNEL_CLOSE: [u16; 2] = [20, 40];
const CHANNEL_CLOSE_OK: [u16; 2] = [20, 41];
const BASIC_DELIVER: [u16; 2] = [60, 60];

/// Ends when it is dropped.
pub(crate) struct WireProxy {
    url: String,
    silent: Arc<AtomicBool>,
    says: broadcast::Sender<Says>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Clone)]
enum Says {
    Blocked,
    Unblocked,
    /// Closes each channel on which something was delivered.
    Close(&'static str),
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    channel: u16,
    payload: Vec<u8>,
}

impl WireProxy {
    /// In front of the broker that `url` names.
    pub(crate) async fn before(url: &str) -> Self {
        let at = url.rfind('@').expect("an address with a user") + 1;
        let end = url[at..].find('/').map_or(url.len(), |slash| at + slash);
        let server = url[at..end].to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = listener.local_addr().expect("an address");
        let silent = Arc::new(AtomicBool::new(false));
        let (says, _) = broadcast::channel(16);
        let (quiet, said) = (silent.clone(), says.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, quiet, said) = (server.clone(), quiet.clone(), said.subscribe());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        forward(client, server, &quiet, said).await;
                    }
                });
            }
        });
        Self {
            url: format!("{}{here}{}", &url[..at], &url[end..]),
            silent,
            says,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From now on no byte arrives in either direction, and no connection is closed.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// New connections work again; those that were silent stay so.
    pub(crate) fn speak(&self) {
        self.silent.store(false, Ordering::SeqCst);
    }

    pub(crate) fn block(&self) {
        self.say(Says::Blocked);
    }

    pub(crate) fn unblock(&self) {
        self.say(Says::Unblocked);
    }

    /// Closes the channels on which something was delivered, with 406 and this text.
    pub(crate) fn close_consuming_channels(&self, text: &'static str) {
        self.say(Says::Close(text));
    }

    fn say(&self, says: Says) {
        self.says.send(says).expect("a connection listens");
    }
}

impl Drop for WireProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(
    client: TcpStream,
    server: TcpStream,
    silent: &AtomicBool,
    said: broadcast::Receiver<Says>,
) {
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let mut header = [0; 8];
    if from_client.read_exact(&mut header).await.is_err()
        || to_server.write_all(&header).await.is_err()
    {
        return;
    }
    let closing = Mutex::default();
    let (client, server) = (frames(from_client), frames(from_server));
    tokio::select! {
        () = up(client, to_server, &closing, silent) => {}
        () = down(server, to_client, &closing, silent, said) => {}
    }
}

/// From the client to the broker. What answers a close that the broker knows nothing of becomes a
/// close of its own.
async fn up(
    mut client: mpsc::Receiver<Frame>,
    mut server: OwnedWriteHalf,
    closing: &Mutex<HashSet<u16>>,
    silent: &AtomicBool,
) {
    while let Some(mut frame) = client.recv().await {
        if silent.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let is_closing = closing.lock().expect("no panic").contains(&frame.channel);
        if is_closing && frame.is(CHANNEL_CLOSE_OK) {
            frame = close(frame.channel, 200, "");
        }
        if server.write_all(&frame.bytes()).await.is_err() {
            return;
        }
    }
}

/// From the broker to the client, with what is said in its name.
async fn down(
    mut server: mpsc::Receiver<Frame>,
    mut client: OwnedWriteHalf,
    closing: &Mutex<HashSet<u16>>,
    silent: &AtomicBool,
    mut said: broadcast::Receiver<Says>,
) {
    let mut delivering = HashSet::new();
    loop {
        let frames = tokio::select! {
            frame = server.recv() => {
                let Some(frame) = frame else { return };
                if frame.is(BASIC_DELIVER) {
                    delivering.insert(frame.channel);
                }
                let mut closing = closing.lock().expect("no panic");
                match closing.contains(&frame.channel) {
                    true if frame.is(CHANNEL_CLOSE_OK) => {
                        closing.remove(&frame.channel);
                        vec![]
                    }
                    true => vec![],
                    false => vec![frame],
                }
            }
            Ok(says) = said.recv() => match says {
                Says::Blocked => vec![method(0, CONNECTION_BLOCKED, b"\x0alow memory")],
                Says::Unblocked => vec![method(0, CONNECTION_UNBLOCKED, b"")],
                Says::Close(text) => {
                    let channels: Vec<_> = delivering.drain().collect();
                    closing.lock().expect("no panic").extend(&channels);
                    channels.into_iter().map(|channel| close(channel, 406, text)).collect()
                }
            },
        };
        if silent.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        for frame in frames {
            if client.write_all(&frame.bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn frames(mut from: OwnedReadHalf) -> mpsc::Receiver<Frame> {
    let (sender, frames) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok(frame) = read(&mut from).await {
            if sender.send(frame).await.is_err() {
                return;
            }
        }
    });
    frames
}

async fn read(from: &mut OwnedReadHalf) -> std::io::Result<Frame> {
    let kind = from.read_u8().await?;
    let channel = from.read_u16().await?;
    let mut payload = vec![0; from.read_u32().await? as usize];
    from.read_exact(&mut payload).await?;
    from.read_u8().await?;
    Ok(Frame {
        kind,
        channel,
        payload,
    })
}

fn method(channel: u16, name: [u16; 2], arguments: &[u8]) -> Frame {
    let mut payload = name.map(u16::to_be_bytes).concat();
    payload.extend(arguments);
    Frame {
        kind: METHOD,
        channel,
        payload,
    }
}

fn close(channel: u16, code: u16, text: &str) -> Frame {
    let mut arguments = code.to_be_bytes().to_vec();
    arguments.push(text.len().try_into().expect("a short text"));
    arguments.extend(text.bytes());
    // The method that caused it: none.
    arguments.extend([0; 4]);
    method(channel, CHANNEL_CLOSE, &arguments)
}

impl Frame {
    fn is(&self, name: [u16; 2]) -> bool {
        self.kind == METHOD
            && self
                .payload
                .starts_with(&name.map(u16::to_be_bytes).concat())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind];
        bytes.extend(self.channel.to_be_bytes());
        bytes.extend((self.payload.len() as u32).to_be_bytes());
        bytes.extend(&self.payload);
        bytes.push(FRAME_END);
        bytes
    }
}

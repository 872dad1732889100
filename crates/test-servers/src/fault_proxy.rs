//! A network that can be cut.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

const BUFFER_BYTES: usize = 16 * 1024;
/// Connections the listening socket keeps waiting until they are accepted.
const BACKLOG: u32 = 128;

/// A proxy in this process, in front of one server, by which a test takes the network away.
///
/// Clients connect to [`FaultProxy::url`] instead of the server's own. The proxy ends when it is
/// dropped, and must be used on a runtime that goes on running beside the test.
///
/// ```no_run
/// # async fn example(database: test_servers::TestDatabase) {
/// let proxy = test_servers::FaultProxy::before(&database.url("catalog")).await;
/// let url = proxy.url();          // for the program under test
/// proxy.cut().await;              // its connections break, new ones are refused
/// proxy.restore().await;          // the server is there again, at the same address
/// # }
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    url: String,
    commands: mpsc::UnboundedSender<(Command, oneshot::Sender<usize>)>,
}

#[derive(Debug)]
enum Command {
    Cut,
    CutConnections,
    Silence,
    Restore,
}

impl FaultProxy {
    /// Starts a proxy on a free port of 127.0.0.1, in front of the server that `url` names
    /// (`postgres://`, `amqp://` or any other scheme; the port may be left out of these two).
    ///
    /// # Panics
    ///
    /// If `url` is no URL with a host that can be resolved.
    pub async fn before(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap_or_else(|error| panic!("{url} is no URL: {error}"));
        let server = resolve(&url).await;
        let port = Port::reserve().expect("a port of 127.0.0.1 is free");
        url.set_ip_host(Ipv4Addr::LOCALHOST.into())
            .and_then(|()| url.set_port(Some(port.address.port())))
            .expect("a URL that names a host can name another");

        let (commands, orders) = mpsc::unbounded_channel();
        let listener = port.listen().expect("the port was just reserved");
        tokio::spawn(forward(port, listener, server, orders));
        Self {
            url: url.into(),
            commands,
        }
    }

    /// The URL given to [`before`](Self::before), by way of the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Breaks all connections and refuses new ones until [`restore`](Self::restore), as if the
    /// server were stopped. Returns, when that is so, how many connections were broken.
    pub async fn cut(&self) -> usize {
        self.tell(Command::Cut).await
    }

    /// Breaks all connections, once; a client may connect again at once. Returns how many there
    /// were.
    pub async fn cut_connections(&self) -> usize {
        self.tell(Command::CutConnections).await
    }

    /// Loses all bytes from now on, in both directions, and closes nothing, as a network does that
    /// drops packets: a new connection is accepted and never answered. Returns how many connections
    /// fell silent. They stay silent; [`restore`](Self::restore) lets new ones through.
    pub async fn silence(&self) -> usize {
        self.tell(Command::Silence).await
    }

    /// Lets clients connect again, at the same address.
    pub async fn restore(&self) {
        self.tell(Command::Restore).await;
    }

    async fn tell(&self, command: Command) -> usize {
        let (done, answer) = oneshot::channel();
        self.commands
            .send((command, done))
            .expect("the proxy runs as long as its owner");
        answer.await.expect("the proxy answers each command")
    }
}

/// A port that stays ours while nobody listens on it: a socket that is bound but does not listen
/// keeps other processes away from it and makes the system refuse connections to it.
struct Port {
    address: SocketAddr,
    _reservation: TcpSocket,
}

impl Port {
    fn reserve() -> io::Result<Self> {
        let socket = shared_socket((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self {
            address: socket.local_addr()?,
            _reservation: socket,
        })
    }

    fn listen(&self) -> io::Result<TcpListener> {
        shared_socket(self.address)?.listen(BACKLOG)
    }
}

fn shared_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn resolve(url: &Url) -> SocketAddr {
    let default_port = match url.scheme() {
        "postgres" | "postgresql" => 5432,
        "amqp" => 5672,
        _ => 0,
    };
    let host = url.host_str().expect("the server's URL names a host");
    let port = url.port_or_known_default().unwrap_or(default_port);
    lookup_host((host, port))
        .await
        .expect("the server's host can be resolved")
        .next()
        .expect("the server's host has an address")
}

/// Forwards until the proxy's owner is gone. Dropping the set of connections closes them all.
async fn forward(
    port: Port,
    listener: TcpListener,
    server: SocketAddr,
    mut orders: mpsc::UnboundedReceiver<(Command, oneshot::Sender<usize>)>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    // Shared by the connections that fall silent together.
    let mut silent = Arc::new(AtomicBool::new(false));
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some((command, done)) = order else { return };
                let before = connections.len();
                let mut affected = None;
                match command {
                    Command::Cut => {
                        listener = None;
                        connections.shutdown().await;
                    }
                    Command::CutConnections => connections.shutdown().await,
                    Command::Silence => {
                        silent.store(true, Ordering::SeqCst);
                        affected = Some(before);
                    }
                    Command::Restore => {
                        silent = Arc::new(AtomicBool::new(false));
                        if listener.is_none() {
                            listener = Some(port.listen().expect("the port stayed reserved"));
                        }
                    }
                }
                // A test that no longer waits for the answer has ended.
                done.send(affected.unwrap_or(before - connections.len())).ok();
            }
            Ok(client) = accept(listener.as_ref()) => {
                connections.spawn(connect_through(client, server, silent.clone()));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// The next client; none, ever, while the network is cut.
async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

/// Copies both ways until either side is done. A server that can't be reached shows to the client
/// as a connection that closes at once.
async fn connect_through(client: TcpStream, server: SocketAddr, silent: Arc<AtomicBool>) {
    if silent.load(Ordering::SeqCst) {
        // Kept open.
        let _client = client;
        return std::future::pending().await;
    }
    if let Ok(server) = TcpStream::connect(server).await {
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.into_split();
        let both = tokio::try_join!(
            copy(client_reads, server_writes, &silent),
            copy(server_reads, client_writes, &silent),
        );
        both.ok();
    }
}

/// Copies until the sender is done. Once it is silent, it only reads, and ends no more.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    silent: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await;
        if silent.load(Ordering::SeqCst) {
            if !read.is_ok_and(|bytes| bytes > 0) {
                return std::future::pending().await;
            }
            continue;
        }
        match read? {
            0 => return to.shutdown().await,
            bytes => to.write_all(&buffer[..bytes]).await?,
        }
    }
}

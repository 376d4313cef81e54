//! Stands between a program and a server: takes the server away without touching it, or spoils the
//! link.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

mod link;

/// Passes connections on to a server until it is cut.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    target: String,
    gate: Gate,
    weather: watch::Sender<Weather>,
    connections: Arc<AtomicUsize>,
}

/// What happens to bytes on their way. Nothing does by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Before each piece.
    pub latency: Duration,
    /// In each direction and for each connection; none: as many as the machine takes.
    pub bytes_per_second: Option<u32>,
    /// Pieces of at most so many bytes, each written by itself.
    pub slice: Option<usize>,
    /// Nothing gets to the server, nothing from it; what was sent meanwhile arrives later, as TCP
    /// would have it.
    pub hole_to_server: bool,
    pub hole_from_server: bool,
    /// The server's end is closed and the client hears nothing of it.
    pub half_open: bool,
    /// Each increase resets all connections; `reset` counts.
    pub resets: u32,
}

#[derive(Debug)]
enum Gate {
    /// The task owns the connections: they end with it.
    Open(JoinHandle<()>),
    /// Bound without listening: connections are refused, and nobody else can take the port.
    Cut(TcpSocket),
    Moving,
}

impl TcpProxy {
    /// `target` is a host with a port.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut proxy = Self {
            address,
            target: target.to_owned(),
            gate: Gate::Moving,
            weather: watch::Sender::default(),
            connections: Arc::default(),
        };
        proxy.open(listener);
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a NATS server behind it.
    pub fn nats_url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// How often somebody has connected so far, whether or not the server was there.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// From now on, also for connections that stand already.
    pub fn weather(&self, weather: Weather) {
        self.weather.send_modify(|now| {
            *now = Weather {
                resets: now.resets,
                ..weather
            }
        });
    }

    /// Ends every connection with a reset; new ones are welcome.
    pub fn reset(&self) {
        self.weather.send_modify(|now| now.resets += 1);
    }

    /// Closes every connection and refuses new ones.
    pub async fn cut(&mut self) {
        if let Gate::Open(task) = std::mem::replace(&mut self.gate, Gate::Moving) {
            task.abort();
            let _aborted = task.await;
        }
        self.gate = Gate::Cut(bound(self.address));
    }

    /// On the same port.
    pub fn restore(&mut self) {
        if let Gate::Cut(socket) = std::mem::replace(&mut self.gate, Gate::Moving) {
            let listener = socket.listen(128).expect("the port is ours");
            self.open(listener);
        }
    }

    fn open(&mut self, listener: TcpListener) {
        let passing = pass_on(
            listener,
            self.target.clone(),
            self.weather.subscribe(),
            Arc::clone(&self.connections),
        );
        self.gate = Gate::Open(tokio::spawn(passing));
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        if let Gate::Open(task) = &self.gate {
            task.abort();
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket option");
    socket.bind(address).expect("the port is ours");
    socket
}

async fn pass_on(
    listener: TcpListener,
    target: String,
    weather: watch::Receiver<Weather>,
    accepted: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        let target = target.clone();
        let weather = weather.clone();
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(target).await {
                link::carry(client, server, weather).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

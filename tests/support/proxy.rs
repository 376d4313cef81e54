//! Stands between the router and a server, and takes the server away without touching it.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Passes connections on to a server until it is cut.
#[derive(Debug)]
pub(crate) struct TcpProxy {
    address: SocketAddr,
    target: String,
    gate: Gate,
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
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let gate = Gate::Open(tokio::spawn(pass_on(listener, target.to_owned())));
        Self { address, target: target.to_owned(), gate }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and refuses new ones.
    pub(crate) async fn cut(&mut self) {
        if let Gate::Open(task) = std::mem::replace(&mut self.gate, Gate::Moving) {
            task.abort();
            let _aborted = task.await;
        }
        self.gate = Gate::Cut(bound(self.address));
    }

    /// On the same port.
    pub(crate) fn restore(&mut self) {
        if let Gate::Cut(socket) = std::mem::replace(&mut self.gate, Gate::Moving) {
            let listener = socket.listen(128).expect("the port is ours");
            self.gate = Gate::Open(tokio::spawn(pass_on(listener, self.target.clone())));
        }
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

async fn pass_on(listener: TcpListener, target: String) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let target = target.clone();
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(target).await {
                let _ended = copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

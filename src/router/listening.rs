//! The sockets of HTTP, open from the first moment of a router to its last.

use std::net::{SocketAddr, TcpListener};

use tokio::net::TcpSocket;

use super::start_error::StartError;
use crate::config::HttpConfig;
use crate::edge::http::{Listeners, Starting};

/// Connections that may wait to be accepted: hundreds at once shall keep no probe waiting.
const BACKLOG: u32 = 1024;

/// What listens, and who answers there until the tree does.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listeners: Listeners,
    pub(super) starting: Starting,
    pub(super) address: SocketAddr,
}

impl Listening {
    pub(super) fn open(config: &HttpConfig) -> Result<Self, StartError> {
        let everything = listen(config.listen, "http.listen")?;
        let probes = config.probes.map(|address| listen(address, "http.probes"));
        let listeners = Listeners {
            everything,
            probes: probes.transpose()?,
        };
        let failed = |error: std::io::Error| StartError::Failed(error.to_string());
        Ok(Self {
            address: listeners.everything.local_addr().map_err(failed)?,
            starting: Starting::serve(&listeners).map_err(failed)?,
            listeners,
        })
    }
}

fn listen(address: SocketAddr, key: &str) -> Result<TcpListener, StartError> {
    let listening = socket(address).and_then(|socket| {
        // As the standard library does: a port is free at once after its last owner.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    });
    listening.map_err(|error| {
        StartError::Failed(format!(
            "Cannot listen on {address}: {error}. Choose another {key}."
        ))
    })
}

fn socket(address: SocketAddr) -> std::io::Result<TcpSocket> {
    if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}

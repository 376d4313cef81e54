//! The sockets at which HTTP is served.

use std::net::TcpListener;

/// They do not block.
#[derive(Debug)]
pub struct Listeners {
    pub everything: TcpListener,
    /// A second address, for probes and metrics only.
    pub probes: Option<TcpListener>,
}

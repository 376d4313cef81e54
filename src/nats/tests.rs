//! The connection and the transport against a real server that is killed, frozen and cut off.

mod connection;
mod transport;

//! The connection, the transport and the bucket of sessions against a real server that is killed,
//! frozen and cut off.

mod connection;
mod ghosts;
mod login;
mod memory;
mod queue;
mod sessions;
mod transport;

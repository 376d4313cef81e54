//! Where messages cross the border of the process: NATS, and HTTP.

pub mod http;
pub mod nats;

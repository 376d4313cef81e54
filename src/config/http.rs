//! Where the metrics and the probes are served.

use std::net::{Ipv4Addr, SocketAddr};

use super::reader::Reader;

/// Section `http`.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    pub listen: SocketAddr,
}

impl HttpConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Self {
            listen: from.parsed(
                "http.listen",
                default,
                r#"an IP address with a port, such as "127.0.0.1:8080""#,
            ),
        }
    }
}

//! Where the metrics and the probes are served.

use std::net::{Ipv4Addr, SocketAddr};

use super::reader::Reader;

/// Section `http`.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    /// A second address, for probes and metrics only.
    pub probes: Option<SocketAddr>,
}

impl HttpConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let expected = r#"an IP address with a port, such as "127.0.0.1:8080""#;
        let listen = from.parsed("http.listen", default, expected);
        let probes = from.optional_parsed("http.probes", expected);
        if probes == Some(listen) && listen.port() != 0 {
            from.mistake("http.probes", "is http.listen; choose another port");
        }
        Self { listen, probes }
    }
}

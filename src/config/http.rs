//! Where the metrics and the probes are served, and who may use the administration.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::{ExposeSecret, SecretString};

use super::printout::redacted;
use super::reader::Reader;
use super::values::Problem;

/// Section `http`.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    /// A second address, for probes and metrics only.
    pub probes: Option<SocketAddr>,
}

/// Section `admin`.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    pub api_key: Option<SecretString>,
}

/// A key of fewer characters could be guessed.
const SHORTEST_KEY: usize = 16;

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

impl AdminConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let api_key = from.secret("admin.api_key", redacted, check_key);
        if api_key
            .as_ref()
            .is_some_and(|key| key.expose_secret().len() < SHORTEST_KEY)
        {
            from.warn(format!(
                "admin.api_key has fewer than {SHORTEST_KEY} characters and could be guessed"
            ));
        }
        Self { api_key }
    }

    /// Leaving the loopback interface without a key may be meant, behind a proxy for instance.
    pub(super) fn check_exposure(&self, http: &HttpConfig, from: &mut Reader) {
        if self.api_key.is_none() && !http.listen.ip().is_loopback() {
            from.warn(format!(
                "http.listen {} can be reached from other machines and admin.api_key is not set",
                http.listen
            ));
        }
    }
}

/// The key travels in an HTTP header.
fn check_key(key: &str) -> Result<(), Problem> {
    let fits = key.chars().all(|c| c.is_ascii_graphic());
    fits.then_some(())
        .ok_or_else(|| "must be printable ASCII without blanks".to_owned())
}

//! What a connection begins with, seen before anybody reads it.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::probes::PATHS;

/// Enough for any method and the paths of the probes.
const LOOKED_AT: usize = 64;
/// Between two looks at a first line that comes in pieces.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether the first request asks for a probe. Nothing is read: whoever serves the connection finds
/// all of it.
pub(super) async fn asks_for_probe(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; LOOKED_AT];
    loop {
        let seen = stream.peek(&mut start).await?;
        let start = start.get(..seen).unwrap_or_default();
        if start.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(is_probe) = is_probe(start) {
            return Ok(is_probe);
        }
        sleep(PAUSE).await;
    }
}

/// Nothing while more has to come first.
fn is_probe(start: &[u8]) -> Option<bool> {
    let mut words = start.splitn(3, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    if !method.iter().all(u8::is_ascii_uppercase) {
        return Some(false);
    }
    let target = words.next().unwrap_or_default();
    let is_whole = words.next().is_some();
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    if is_whole || path.len() < target.len() {
        return Some(PATHS.iter().any(|probe| probe.as_bytes() == path));
    }
    let may_become_one = PATHS.iter().any(|probe| probe.as_bytes().starts_with(path));
    let is_unfinished = start.len() < LOOKED_AT && may_become_one;
    (!is_unfinished).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_known_by_its_path() {
        for probe in [
            "GET /healthz HTTP/1.1\r\nHost: x",
            "HEAD /readyz HTTP/1.1",
            "DELETE /readyz HTTP/1.1",
            "GET /metrics?name=x",
        ] {
            assert_eq!(is_probe(probe.as_bytes()), Some(true), "{probe}");
        }
        for other in [
            "GET / HTTP/1.1",
            "GET /api/v1/extensions",
            "GET /healthzz",
            "GET /health HTTP/1.1",
            "GET http://x/healthz HTTP/1.1",
            "get /healthz HTTP/1.1",
            "GET\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(is_probe(other.as_bytes()), Some(false), "{other}");
        }
    }

    #[test]
    fn a_first_line_may_come_in_pieces() {
        for piece in ["G", "GET", "GET ", "GET /", "GET /heal", "GET /healthz"] {
            assert_eq!(is_probe(piece.as_bytes()), None, "{piece}");
        }
        let endless = "X".repeat(LOOKED_AT);
        assert_eq!(is_probe(endless.as_bytes()), Some(false));
    }
}

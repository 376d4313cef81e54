//! What a connection begins with, seen before anybody reads it.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::probes::PATHS;

/// Enough for any method and the paths of the probes.
const LOOKED_AT: usize = 64;
/// For the head of a probe. No client sends as much with one.
const LONGEST_HEAD: usize = 4096;
/// Between two looks at a request that comes in pieces, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// What the first request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// A probe that is all there.
    Probe,
    /// Something else, or a probe with a head that is very long.
    Other,
}

/// Looks until it is known. Nothing is read: whoever serves the connection finds all of it. A probe
/// is one only when it is complete, so that nobody holds the place of one with half a request.
pub(super) async fn of(stream: &TcpStream) -> io::Result<First> {
    // Whoever says nothing costs nothing.
    stream.readable().await?;
    let mut head = vec![0; LONGEST_HEAD];
    let mut pause = FIRST_PAUSE;
    let mut known = 0;
    loop {
        let seen = stream.peek(&mut head).await?;
        let start = head.get(..seen).unwrap_or_default();
        if start.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(first) = first(start) {
            return Ok(first);
        }
        // Whoever sends a byte now and then is looked at now and then.
        pause = if seen > known {
            pause
        } else {
            (pause * 2).min(LONGEST_PAUSE)
        };
        known = seen;
        sleep(pause).await;
    }
}

/// Nothing while more has to come first.
fn first(start: &[u8]) -> Option<First> {
    if !is_probe(start)? {
        return Some(First::Other);
    }
    // Whoever types a probe by hand may leave the carriage returns out.
    let has = |end: &[u8]| start.windows(end.len()).any(|part| part == end);
    if has(b"\n\r\n") || has(b"\n\n") {
        return Some(First::Probe);
    }
    (start.len() >= LONGEST_HEAD).then_some(First::Other)
}

/// Nothing while more has to come first.
fn is_probe(start: &[u8]) -> Option<bool> {
    let start = start.get(..LOOKED_AT).unwrap_or(start);
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

    #[test]
    fn a_probe_is_one_when_its_head_is_complete() {
        let line = "GET /healthz HTTP/1.1\r\n";
        assert_eq!(first(line.as_bytes()), None);
        let unfinished = format!("{line}Host: x\r\n");
        assert_eq!(first(unfinished.as_bytes()), None);
        let whole = format!("{unfinished}\r\n");
        assert_eq!(first(whole.as_bytes()), Some(First::Probe));
        let long = format!("{line}X: {}", "x".repeat(LONGEST_HEAD));
        assert_eq!(first(&long.as_bytes()[..LONGEST_HEAD]), Some(First::Other));
    }
}

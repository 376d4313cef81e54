//! Tries to keep probes and scrapes from being answered, so that a platform restarts a router that
//! is well.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use beamline_test_support::{Nats, RouterProcess, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

/// What a platform gives a probe.
const IN_TIME: Duration = Duration::from_secs(1);
const SLOW: usize = 600;
/// Nothing, a probe that never ends, something else that never ends, an answer that is not read,
/// nonsense.
const BEGUN: [&str; 5] = [
    "",
    "GET /healthz HTTP/1.1\r\nX-Slow: ",
    "GET /api/v1/extensions HTTP/1.1\r\nX-Slow: ",
    "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /",
];

/// Connections that say a letter a second, and come again when they are closed.
fn hold(address: SocketAddr) -> JoinSet<()> {
    let mut holding = JoinSet::new();
    for begun in BEGUN.iter().cycle().take(SLOW) {
        holding.spawn(async move {
            loop {
                if let Ok(stream) = TcpStream::connect(address).await {
                    drip(stream, begun).await;
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
    }
    holding
}

async fn drip(mut stream: TcpStream, begun: &str) {
    let mut next = begun.as_bytes();
    while stream.write_all(next).await.is_ok() {
        next = b"x";
        let mut read = [0; 1];
        let closed = timeout(Duration::from_secs(1), stream.read(&mut read)).await;
        if matches!(closed, Ok(Ok(0) | Err(_))) {
            return;
        }
    }
}

/// As a platform does: in a thread that has nothing else to do.
fn probe(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, IN_TIME)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.set_read_timeout(Some(5 * IN_TIME))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Each is answered, and nearly all within a second: a platform acts on three misses in a row.
async fn assert_answered(address: SocketAddr, doing: &str) {
    let mut late = Vec::new();
    for path in ["/healthz", "/readyz", "/metrics"].iter().cycle().take(30) {
        let begun = Instant::now();
        let asked = spawn_blocking(move || probe(address, path)).await;
        let took = begun.elapsed();
        let answer = asked.expect("no panic").unwrap_or_else(|error| {
            panic!("{path} was not answered {doing}, after {took:?}: {error}")
        });
        assert!(
            answer.starts_with("HTTP/1.0 200"),
            "{path} {doing}: {answer}"
        );
        if took > IN_TIME {
            late.push((path, took));
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(late.len() <= 2, "{doing}: {late:?}");
}

#[tokio::test]
async fn six_hundred_slow_connections_keep_no_probe_waiting() {
    let nats = Nats::start().await;
    let apart = format!("127.0.0.1:{}", free_port());
    let settings = [("nats.url", nats.url()), ("http.probes", &apart)];
    let router = RouterProcess::start(&settings).await;
    let apart = apart.parse().expect("an address");
    for address in [router.http(), apart] {
        let mut holding = hold(address);
        // Right away, and when all of them are there.
        assert_answered(address, "while they come").await;
        sleep(Duration::from_secs(2)).await;
        assert_answered(address, "while they stay").await;
        holding.shutdown().await;
    }
}

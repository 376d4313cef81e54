//! Tries to keep probes and scrapes from being answered, so that a platform restarts a router that
//! is well.

use std::net::SocketAddr;
use std::time::Duration;

use beamline_test_support::{Nats, RouterProcess, free_port, http_get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
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

async fn assert_answered(address: SocketAddr, doing: &str) {
    for path in ["/healthz", "/readyz", "/metrics"].iter().cycle().take(30) {
        let answer = timeout(IN_TIME, http_get(address, path)).await;
        let (code, _) = answer
            .unwrap_or_else(|_| panic!("{path} was not answered in time {doing}"))
            .unwrap_or_else(|| panic!("{path} was not answered {doing}"));
        assert_eq!(code, 200, "{path} {doing}");
        sleep(Duration::from_millis(50)).await;
    }
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

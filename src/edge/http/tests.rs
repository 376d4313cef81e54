//! The HTTP server over a real socket.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connections::MOST_CONNECTIONS;
use super::{Probes, Readiness, serve};

const LIMIT: Duration = Duration::from_secs(30);
const READY: Readiness = Readiness {
    nats: true,
    registry: true,
    draining: false,
    revision: 7,
    registry_source: "store",
    stale_seconds: 0,
};

struct Http {
    address: SocketAddr,
    readiness: Arc<Mutex<Readiness>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Http {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Arc::new(Mutex::new(READY));
        let probes = Probes {
            readiness: Arc::new({
                let readiness = Arc::clone(&readiness);
                move || readiness.lock().clone()
            }),
            metrics: Arc::new(|| "# EOF\n".to_owned()),
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, probes, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            readiness,
            stop,
            task,
        }
    }

    async fn send(&self, request: &str) -> Response {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream
            .write_all(format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        timeout(LIMIT, stream.read_to_string(&mut answer))
            .await
            .expect("an answer")
            .unwrap();
        Response::read(&answer)
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        timeout(LIMIT, self.task)
            .await
            .expect("the server ends")
            .unwrap()
            .unwrap();
    }
}

struct Response {
    code: u16,
    head: String,
    body: String,
}

impl Response {
    fn read(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            code,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[tokio::test]
async fn the_process_is_alive_whatever_else_is_wrong() {
    let http = Http::start();
    *http.readiness.lock() = Readiness {
        nats: false,
        registry: false,
        draining: true,
        ..READY
    };
    let answer = http.send("GET /healthz HTTP/1.1").await;
    assert_eq!((answer.code, answer.json()), (200, json!({"status": "ok"})));
    http.end().await;
}

#[tokio::test]
async fn readiness_says_why() {
    let http = Http::start();
    let answer = http.send("GET /readyz HTTP/1.1").await;
    assert_eq!(answer.code, 200);
    assert!(
        answer.head.contains("content-type: application/json"),
        "{}",
        answer.head
    );
    assert!(
        answer.head.contains("cache-control: no-store"),
        "{}",
        answer.head
    );
    let ready = json!({"status": "ready", "nats": true, "registry": true, "draining": false, "revision": 7,
        "registry_source": "store", "stale_seconds": 0});
    assert_eq!(answer.json(), ready);

    // An old snapshot serves.
    *http.readiness.lock() = Readiness {
        stale_seconds: 3600,
        registry_source: "disk",
        ..READY
    };
    assert_eq!(http.send("GET /readyz HTTP/1.1").await.code, 200);

    for (not_ready, field) in [
        (
            Readiness {
                nats: false,
                ..READY
            },
            "nats",
        ),
        (
            Readiness {
                registry: false,
                ..READY
            },
            "registry",
        ),
        (
            Readiness {
                draining: true,
                ..READY
            },
            "draining",
        ),
    ] {
        *http.readiness.lock() = not_ready;
        let answer = http.send("GET /readyz HTTP/1.1").await;
        assert_eq!(
            (answer.code, &answer.json()["status"]),
            (503, &json!("not_ready"))
        );
        assert_ne!(answer.json()[field], ready[field]);
    }
    http.end().await;
}

#[tokio::test]
async fn metrics_come_as_openmetrics_text() {
    let http = Http::start();
    let answer = http.send("GET /metrics HTTP/1.1").await;
    assert_eq!((answer.code, answer.body.as_str()), (200, "# EOF\n"));
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.head.contains(kind), "{}", answer.head);
    http.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let http = Http::start();
    let answer = http.send("GET /nowhere HTTP/1.1").await;
    assert_eq!((answer.code, &answer.json()["status"]), (404, &json!(404)));
    assert!(
        answer
            .head
            .contains("content-type: application/problem+json"),
        "{}",
        answer.head
    );

    let answer = http.send("DELETE /readyz HTTP/1.1").await;
    assert_eq!(
        (answer.code, &answer.json()["title"]),
        (405, &json!("Method Not Allowed"))
    );
    assert!(
        answer
            .head
            .contains("content-type: application/problem+json"),
        "{}",
        answer.head
    );
    assert!(answer.head.contains("allow: get,head"), "{}", answer.head);

    assert_eq!(http.send("HEAD /healthz HTTP/1.1").await.code, 200);
    http.end().await;
}

#[tokio::test]
async fn nonsense_ends_only_its_own_connection() {
    let http = Http::start();
    for nonsense in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(http.address).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(LIMIT, stream.read_to_end(&mut answer))
            .await
            .expect("an end");
    }
    assert_eq!(http.send("GET /healthz HTTP/1.1").await.code, 200);
    http.end().await;
}

#[tokio::test(start_paused = true)]
async fn headers_that_never_end_are_not_awaited() {
    let http = Http::start();
    let mut stream = TcpStream::connect(http.address).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut answer))
        .await
        .expect("the connection is closed")
        .unwrap();
    http.end().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let http = Http::start();
    let mut idle = TcpStream::connect(http.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    timeout(LIMIT, idle.read_exact(&mut first))
        .await
        .expect("an answer")
        .unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let mut half = TcpStream::connect(http.address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let address = http.address;
    http.end().await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}

/// Scrapers that keep their connections, so many that there is no place for a probe.
#[tokio::test]
async fn a_probe_takes_the_place_of_the_oldest_connection() {
    let http = Http::start();
    let mut idle = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        let mut stream = TcpStream::connect(http.address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        // One that was served, and then stays.
        let mut first = [0; 1];
        timeout(LIMIT, stream.read_exact(&mut first))
            .await
            .expect("an answer")
            .unwrap();
        idle.push(stream);
    }
    assert_eq!(http.send("GET /healthz HTTP/1.1").await.code, 200);
    let mut rest = Vec::new();
    timeout(LIMIT, idle[0].read_to_end(&mut rest))
        .await
        .expect("the oldest ends")
        .unwrap();
    let newest = idle.last_mut().unwrap();
    newest
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answers = String::new();
    timeout(LIMIT, newest.read_to_string(&mut answers))
        .await
        .expect("an answer")
        .unwrap();
    assert_eq!(
        answers.matches("HTTP/1.1 200").count(),
        1,
        "the newest still serves: {answers}"
    );
    http.end().await;
}

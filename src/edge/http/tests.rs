//! The HTTP server over a real socket.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::front::{MOST_LOOKED_AT, MOST_PROBES};
use super::{Http, Listeners, Probes, Readiness, Starting, front, server};

const LIMIT: Duration = Duration::from_secs(30);
const READY: Readiness = Readiness {
    nats: true,
    registry: true,
    draining: false,
    revision: 7,
    registry_source: "store",
    stale_seconds: 0,
};

const METRICS: &str = "# TYPE a counter\na_total 1\n# EOF\n";

/// Both servers, in the runtime of the test.
struct Served {
    address: SocketAddr,
    readiness: Arc<Mutex<Readiness>>,
    http: Http,
    stop: CancellationToken,
    front: JoinHandle<std::io::Result<()>>,
}

fn listeners() -> (SocketAddr, Listeners) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listeners = Listeners {
        everything: listener,
        probes: None,
    };
    (address, listeners)
}

fn http(readiness: &Arc<Mutex<Readiness>>) -> (SocketAddr, Http) {
    let (address, listeners) = listeners();
    let readiness = Arc::clone(readiness);
    let probes = Probes {
        readiness: Arc::new(move || readiness.lock().clone()),
        metrics: Arc::new(|| Some(METRICS.to_owned())),
    };
    (address, Http::new(listeners, probes))
}

impl Served {
    fn start() -> Self {
        let readiness = Arc::new(Mutex::new(READY));
        let (address, http) = http(&readiness);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let of_front = Arc::clone(&http.front);
        let front = tokio::spawn(async move { front::serve(of_front, &stopped).await });
        tokio::spawn(server::serve(Arc::clone(&http.server)));
        Self {
            address,
            readiness,
            http,
            stop,
            front,
        }
    }

    async fn send(&self, request: &str) -> Response {
        let mut stream = ask(self.address, request).await;
        Response::from(&mut stream).await
    }

    async fn end(self) {
        assert!(self.http.drain(LIMIT).await);
        self.stop.cancel();
        timeout(LIMIT, self.front)
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

/// A connection with one request on it.
async fn ask(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

impl Response {
    async fn from(stream: &mut TcpStream) -> Self {
        let mut answer = String::new();
        timeout(LIMIT, stream.read_to_string(&mut answer))
            .await
            .expect("an answer")
            .unwrap();
        Self::read(&answer)
    }

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
    let http = Served::start();
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
    let http = Served::start();
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
async fn metrics_come_in_the_format_that_was_asked_for() {
    let http = Served::start();
    let answer = http.send("GET /metrics HTTP/1.1").await;
    let text = "# TYPE a_total counter\na_total 1\n";
    assert_eq!((answer.code, answer.body.as_str()), (200, text));
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(answer.head.contains(kind), "{}", answer.head);

    let asking = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let answer = http.send(asking).await;
    assert_eq!((answer.code, answer.body.as_str()), (200, METRICS));
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.head.contains(kind), "{}", answer.head);
    assert!(answer.head.contains("vary: accept"), "{}", answer.head);
    http.end().await;
}

/// Before there is anything that could be ready.
#[tokio::test]
async fn a_router_that_starts_is_alive_and_not_ready() {
    let (address, listeners) = listeners();
    let starting = Starting::serve(&listeners).unwrap();
    for (path, code) in [
        ("healthz", 200),
        ("readyz", 503),
        ("metrics", 503),
        ("api", 503),
    ] {
        let mut stream = ask(address, &format!("GET /{path} HTTP/1.1")).await;
        assert_eq!(Response::from(&mut stream).await.code, code, "{path}");
    }
    let probes = Probes {
        readiness: Arc::new(|| READY),
        metrics: Arc::new(|| None),
    };
    let http = Http::new(listeners, probes);
    let front = tokio::spawn(front::serve_apart(Arc::clone(&http.front)));
    drop(starting);
    let ready = async {
        loop {
            let mut stream = ask(address, "GET /readyz HTTP/1.1").await;
            if Response::from(&mut stream).await.code == 200 {
                break;
            }
        }
    };
    timeout(LIMIT, ready)
        .await
        .expect("the next one takes over");
    front.abort();
}

/// At an address of their own there is nothing else.
#[tokio::test]
async fn probes_may_have_an_address_of_their_own() {
    let (_, mut both) = listeners();
    let (address, apart) = listeners();
    both.probes = Some(apart.everything);
    let probes = Probes {
        readiness: Arc::new(|| READY),
        metrics: Arc::new(|| Some(METRICS.to_owned())),
    };
    let http = Http::new(both, probes);
    let front = tokio::spawn(front::serve_apart(http.apart.clone().unwrap()));
    for (path, code) in [
        ("healthz", 200),
        ("readyz", 200),
        ("metrics", 200),
        ("api", 404),
    ] {
        let mut stream = ask(address, &format!("GET /{path} HTTP/1.1")).await;
        assert_eq!(Response::from(&mut stream).await.code, code, "{path}");
    }
    front.abort();
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let http = Served::start();
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
    let http = Served::start();
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
    let http = Served::start();
    let mut stream = TcpStream::connect(http.address).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // Closed, or reset because nobody has read the request.
    let _ = timeout(LIMIT, stream.read_to_end(&mut answer))
        .await
        .expect("the connection is closed");
    assert!(answer.is_empty());
    http.end().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let http = Served::start();
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
    let http = Served::start();
    let mut idle = Vec::new();
    for _ in 0..MOST_PROBES {
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

/// Those that say nothing, half a probe, or a whole one whose answer they do not read.
#[tokio::test]
async fn a_probe_is_answered_beside_any_number_of_slow_connections() {
    let http = Served::start();
    let mut slow = Vec::new();
    let begun = [
        "",
        "GET /healthz HTTP/1.1\r\nX: ",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "GE",
    ];
    for begin in begun.iter().cycle().take(2 * MOST_LOOKED_AT) {
        let mut stream = TcpStream::connect(http.address).await.unwrap();
        let _ = stream.write_all(begin.as_bytes()).await;
        slow.push(stream);
        if slow.len().is_multiple_of(64) {
            let asked = timeout(Duration::from_secs(1), http.send("GET /healthz HTTP/1.1"));
            assert_eq!(asked.await.expect("in time").code, 200);
        }
    }
    http.end().await;
}

#[tokio::test]
async fn a_probe_is_answered_while_nothing_else_is() {
    let (address, http) = http(&Arc::new(Mutex::new(READY)));
    // A thread of its own, and nobody in this runtime who takes over what it hands over.
    let front = tokio::spawn(front::serve_apart(Arc::clone(&http.front)));
    let mut other = ask(address, "GET /nowhere HTTP/1.1").await;
    let mut probe = ask(address, "GET /healthz HTTP/1.1").await;
    assert_eq!(Response::from(&mut probe).await.code, 200);

    let server = tokio::spawn(server::serve(Arc::clone(&http.server)));
    assert_eq!(Response::from(&mut other).await.code, 404);
    assert!(http.drain(LIMIT).await);
    timeout(LIMIT, server).await.expect("an end").unwrap();
    front.abort();
}

#[tokio::test]
async fn one_connection_may_ask_for_a_probe_and_for_something_else() {
    let served = Served::start();
    for (first, second, codes) in [
        ("/healthz", "/nowhere", ["200", "404"]),
        ("/nowhere", "/healthz", ["404", "200"]),
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let requests = format!(
            "GET {first} HTTP/1.1\r\nHost: x\r\n\r\nGET {second} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = String::new();
        timeout(LIMIT, stream.read_to_string(&mut answers))
            .await
            .expect("answers")
            .unwrap();
        let answered: Vec<&str> = answers
            .split("HTTP/1.1 ")
            .skip(1)
            .filter_map(|answer| answer.split(' ').next())
            .collect();
        assert_eq!(answered, codes, "{answers}");
    }
    served.end().await;
}

#[tokio::test]
async fn a_connection_leaves_the_probes_after_something_else() {
    let served = Served::start();
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let requests =
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answers))
        .await
        .expect("the connection ends")
        .unwrap();
    assert!(answers.contains("connection: close"), "{answers}");
    served.end().await;
}

#[tokio::test]
async fn probes_are_answered_while_the_rest_is_drained() {
    let served = Served::start();
    assert!(served.http.drain(LIMIT).await);
    assert_eq!(served.send("GET /readyz HTTP/1.1").await.code, 200);
    let mut other = ask(served.address, "GET /nowhere HTTP/1.1").await;
    let mut answer = Vec::new();
    // Closed, or reset because the request was not read.
    let _ = timeout(LIMIT, other.read_to_end(&mut answer))
        .await
        .expect("the connection ends");
    assert!(answer.is_empty());
    served.end().await;
}

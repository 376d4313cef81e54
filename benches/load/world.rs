//! Servers and programs of one measurement, all of which end with it.

use std::fs::{File, read_to_string};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use beamline_extension::{Extension, Kind, RawRequest, Running, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// What is started.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) router: PathBuf,
    /// Configuration of the router.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) provider_takes: Duration,
    /// Router and nats-server get a processor of their own, everything else the others.
    pub(crate) apart: bool,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) client: async_nats::Client,
    pub(crate) url: String,
    http: SocketAddr,
    router: Ended,
    _nats: Ended,
    _extensions: Vec<Running>,
    _directory: TempDir,
}

/// A program that ends with its owner.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const LIMIT: Duration = Duration::from_secs(30);
/// Of the clock in `/proc`, as Linux has it everywhere.
const TICKS_PER_SECOND: u64 = 100;

impl World {
    pub(crate) async fn start(setup: &Setup) -> Self {
        let directory = TempDir::new().expect("a directory");
        let nats_port = free_address().port();
        let url = format!("nats://127.0.0.1:{nats_port}");
        let nats = start_nats(nats_port, setup);
        let client = eventually("nats-server", async || async_nats::connect(&url).await.ok()).await;
        let extensions = serve(&url, setup).await;
        let http = free_address();
        let router = start_router(setup, directory.path(), &url, http);
        let world = Self {
            client,
            url,
            http,
            router,
            _nats: nats,
            _extensions: extensions,
            _directory: directory,
        };
        eventually("the router", async || {
            world.admin("list_extensions", json!({})).await
        })
        .await;
        world.register().await;
        world
    }

    /// What the router shows of itself at `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        let mut connection = TcpStream::connect(self.http)
            .await
            .expect("the router's HTTP");
        connection
            .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        let read = timeout(LIMIT, connection.read_to_string(&mut answer)).await;
        read.expect("metrics in time").expect("metrics");
        answer
    }

    /// Time that the router has spent on the processor so far.
    pub(crate) fn router_cpu(&self) -> Duration {
        let stat =
            read_to_string(format!("/proc/{}/stat", self.router.0.id())).expect("the router runs");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|field| field.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// Memory of the router in MiB.
    pub(crate) fn router_memory(&self) -> u64 {
        let status = read_to_string(format!("/proc/{}/status", self.router.0.id()))
            .expect("the router runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a size");
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .expect("a number")
            / 1024
    }

    async fn register(&self) {
        for (kind, id) in [
            ("pre", "clean"),
            ("validator", "guard"),
            ("provider", "model"),
            ("post", "mask"),
        ] {
            let record = json!({"id": id, "type": kind, "timeout_ms": 5_000});
            self.admin("create_extension", record)
                .await
                .expect("a record");
        }
        let external =
            json!({"id": "elsewhere", "type": "provider", "metadata": {"external": true}});
        self.admin("create_extension", external)
            .await
            .expect("a record");
        let policy = json!({"pre": [{"id": "clean", "mode": "required"}], "validators": [{"id": "guard"}],
            "providers": [{"name": "model"}], "post": [{"id": "mask", "mode": "required"}]});
        self.put_policy("default", policy).await;
        let choice = json!({"providers": [{"name": "elsewhere"}]});
        self.put_policy("choice", choice).await;
    }

    async fn put_policy(&self, id: &str, policy: Value) {
        let body = json!({"tenant_id": "acme", "policy_id": id, "policy": policy});
        self.admin("put_policy", body).await.expect("a policy");
    }

    async fn admin(&self, operation: &str, mut body: Value) -> Option<Value> {
        body["api_key"] = KEY.into();
        let subject = format!("beamline.router.v1.admin.{operation}");
        let answer = timeout(LIMIT, self.client.request(subject, body.to_string().into()))
            .await
            .ok()?
            .ok()?;
        let answer: Value = serde_json::from_slice(&answer.payload).ok()?;
        (answer["error"].is_null()).then_some(answer)
    }
}

/// Every version of the router takes it like this.
const KEY: &str = "the-key-of-the-benchmark";

/// The processor that router and nats-server have for themselves.
const ROUTERS: usize = 0;

/// Moves this process, and all that it starts, off the router's processor: on a machine that
/// everybody shares, ten times the load would take from the router what it needs to carry it, and
/// the figures would tell of the clients.
pub(crate) fn leave_to_router() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(
        processors > 1,
        "one processor cannot be kept apart; say --together"
    );
    let others = format!("{}-{}", ROUTERS + 1, processors - 1);
    let mut taskset = Command::new("taskset");
    taskset
        .args([
            "--cpu-list",
            "--pid",
            &others,
            &std::process::id().to_string(),
        ])
        .stdout(Stdio::null());
    assert!(
        taskset.status().is_ok_and(|status| status.success()),
        "taskset of util-linux is needed, or --together"
    );
}

fn start_nats(port: u16, setup: &Setup) -> Ended {
    let mut server = program(Path::new("nats-server"), setup);
    server
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ended(server.spawn().expect("nats-server on the PATH"))
}

fn start_router(setup: &Setup, directory: &Path, url: &str, http: SocketAddr) -> Ended {
    let log = File::create(directory.join("router.log")).expect("a log file");
    let mut router = program(&setup.router, setup);
    router
        .arg("serve")
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(log);
    let own = [
        ("nats.url".to_owned(), url.to_owned()),
        ("http.listen".to_owned(), http.to_string()),
        ("telemetry.log_filter".to_owned(), "error".to_owned()),
        ("admin.api_key".to_owned(), KEY.to_owned()),
    ];
    for (key, value) in own.iter().chain(&setup.settings) {
        let name = key.to_ascii_uppercase().replace('.', "__");
        router.env(format!("BEAMLINE__{name}"), value);
    }
    Ended(router.spawn().expect("the router"))
}

fn program(path: &Path, setup: &Setup) -> Command {
    if !setup.apart {
        return Command::new(path);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &ROUTERS.to_string()]).arg(path);
    command
}

async fn serve(url: &str, setup: &Setup) -> Vec<Running> {
    let takes = setup.provider_takes;
    let stubs = [
        (Kind::Pre, "clean", "{}", Duration::ZERO),
        (
            Kind::Validator,
            "guard",
            r#"{"status": "ok"}"#,
            Duration::ZERO,
        ),
        (Kind::Provider, "model", r#"{"output": "hello"}"#, takes),
        (Kind::Post, "mask", "{}", Duration::ZERO),
    ];
    let mut running = Vec::new();
    for (kind, id, answer, takes) in stubs {
        let work = move |_: RawRequest| async move {
            if !takes.is_zero() {
                sleep(takes).await;
            }
            Some(answer.to_owned().into())
        };
        let settings = Settings {
            max_in_flight: 2_000.try_into().expect("not zero"),
            ..Settings::for_url(url)
        };
        running.push(
            Extension::raw(kind, id, work)
                .serve(&settings)
                .await
                .expect("a stub"),
        );
    }
    running
}

async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, tries)
        .await
        .unwrap_or_else(|_| panic!("{what} did not start"))
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

//! Servers and programs of one measurement, all of which end with it.

use std::fs::{File, read_to_string};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use beamline_extension::{Extension, Kind, RawRequest, Running, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::options::Options;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) client: async_nats::Client,
    pub(crate) url: String,
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
    pub(crate) async fn start(options: &Options) -> Self {
        let directory = TempDir::new().expect("a directory");
        let port = free_port();
        let url = format!("nats://127.0.0.1:{port}");
        let mut server = program("nats-server", options);
        server
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let nats = Ended(server.spawn().expect("nats-server on the PATH"));
        let client = eventually("nats-server", async || async_nats::connect(&url).await.ok()).await;
        let extensions = serve(&url, options).await;

        let log = File::create(directory.path().join("router.log")).expect("a log file");
        let mut router = program(env!("CARGO_BIN_EXE_beamline-router"), options);
        router
            .arg("serve")
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(log);
        let own = [
            ("nats.url", url.clone()),
            ("http.listen", format!("127.0.0.1:{}", free_port())),
            ("telemetry.log_filter", "error".to_owned()),
        ];
        let fixed = options.limit.map(|limit| {
            [
                ("router.adaptive_limit", "false".to_owned()),
                ("router.max_in_flight", limit.to_string()),
                (
                    "router.max_in_flight_per_extension",
                    limit.max(500).to_string(),
                ),
            ]
        });
        let given = options
            .settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()));
        for (key, value) in own
            .into_iter()
            .chain(fixed.into_iter().flatten())
            .chain(given)
        {
            router.env(
                format!("BEAMLINE__{}", key.to_ascii_uppercase().replace('.', "__")),
                value,
            );
        }
        let router = Ended(router.spawn().expect("the router"));
        let world = Self {
            client,
            url,
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
        let policy = json!({"pre": [{"id": "clean", "mode": "required"}], "validators": [{"id": "guard"}],
            "providers": [{"name": "model"}], "post": [{"id": "mask", "mode": "required"}]});
        let body = json!({"tenant_id": "acme", "policy_id": "default", "policy": policy});
        self.admin("put_policy", body).await.expect("a policy");
    }

    async fn admin(&self, operation: &str, body: Value) -> Option<Value> {
        let subject = format!("beamline.router.v1.admin.{operation}");
        let answer = timeout(LIMIT, self.client.request(subject, body.to_string().into()))
            .await
            .ok()?
            .ok()?;
        let answer: Value = serde_json::from_slice(&answer.payload).ok()?;
        (answer["error"].is_null()).then_some(answer)
    }
}

/// The processor that router and nats-server have for themselves.
const ROUTERS: usize = 0;

/// Moves this process, and all that it starts, off the router's processor: on a machine that everybody shares, ten times the
/// load would take from the router what it needs to carry it, and the figures would tell of the clients.
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

fn program(path: &str, options: &Options) -> Command {
    if !options.apart {
        return Command::new(path);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &ROUTERS.to_string(), path]);
    command
}

async fn serve(url: &str, options: &Options) -> Vec<Running> {
    let takes = Duration::from_millis(options.provider_ms);
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

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

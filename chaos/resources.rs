//! What a process needs besides its peers runs out (C35, C36, C40, C41): memory, file descriptors,
//! a reader of its metrics or of its log. Requests go on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beamline_test_support::{LIMIT, eventually, request_with};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::puppet::{Behaviour, Puppet};
use crate::scenario::{Scenario, scenarios};
use crate::setting::{Launch, Setting};
use crate::stage::Stage;
use crate::watch::{Counters, cpu_time};

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C35" "memory is scarce, and requests are large" scarce_memory;
    "C36" "no file descriptors are left" no_descriptors;
    "C40" "scrapers never read" scrapers_never_read;
    "C41" "nobody reads the log" nobody_reads_the_log;
};

const SECOND: Duration = Duration::from_secs(1);

const MIB: usize = 1024 * 1024;
/// What the router may use. It takes an eighth of this for requests when it starts with it.
const MEMORY: usize = 256 * MIB;
/// A large request, how many come a second, and how long its provider holds it: more than there is
/// room for.
const LARGE: usize = 900_000;
const LARGE_EVERY: Duration = Duration::from_millis(100);
const HELD: Duration = Duration::from_secs(6);

/// A control group with little memory. Gone with the test.
struct Group(PathBuf);

impl Group {
    /// Only root can make one, and not everywhere.
    fn make() -> Option<Self> {
        let path = Path::new("/sys/fs/cgroup/memory")
            .join(format!("beamline-chaos-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        let group = Self(path);
        std::fs::write(group.0.join("memory.limit_in_bytes"), MEMORY.to_string()).ok()?;
        Some(group)
    }

    fn peak(&self) -> usize {
        let peak =
            std::fs::read_to_string(self.0.join("memory.max_usage_in_bytes")).unwrap_or_default();
        peak.trim().parse().unwrap_or_default()
    }
}

impl Drop for Group {
    /// What is left in the group goes back to where it came from.
    fn drop(&mut self) {
        let left = std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let _ended_already = std::fs::write("/sys/fs/cgroup/memory/cgroup.procs", pid);
        }
        let _kept_by_the_system = std::fs::remove_dir(&self.0);
    }
}

async fn scarce_memory(pace: Pace) -> Outcome {
    let Some(group) = Group::make() else {
        return Outcome::skipped(
            "a control group for memory (version 1) can only be made by root, and not everywhere",
        );
    };
    // The router itself finds out how much it may have. On a slow machine it would refuse requests
    // for want of time before their bytes are too many.
    let setting = Setting::default()
        .launched(Launch::InGroup(group.0.clone()))
        .configured("router.adaptive_limit", "false");
    let mut stage = Stage::set(pace, setting).await;
    stage
        .gateway
        .register("provider", "heavy", json!({"timeout_ms": 10_000}))
        .await;
    stage
        .gateway
        .policy("heavy", &json!({"providers": [{"name": "heavy"}]}))
        .await;
    let heavy = Puppet::provider(stage.buses.nats.url(), "heavy").await;
    heavy.does(Behaviour::Slow(HELD, HELD));
    stage.calm().await;
    // The control group is the limit.
    stage.may_hold(MEMORY as u64 / MIB as u64);
    let broken = stage.breaks();
    let body = request_with(
        "heavy",
        json!({"message": {
            "message_id": "m-1", "message_type": "chat", "payload": "x".repeat(LARGE), "metadata": {},
        }}),
    );
    let body = body.to_string();
    let mut large = JoinSet::new();
    // Until those that are held would have more bytes than there is room for.
    let lasts = pace.fault.max(SECOND * 5);
    while broken.elapsed() < lasts {
        let client = stage.gateway.client().clone();
        let body = body.clone();
        large.spawn(async move {
            let answer = timeout(
                LIMIT,
                client.request("beamline.router.v1.route", body.into()),
            )
            .await
            .ok()?
            .ok()?;
            // Only what is short is read: this program needs the processors, too.
            let short = answer.payload.len() < LARGE;
            let error: Value = if short {
                serde_json::from_slice(&answer.payload).ok()?
            } else {
                Value::Null
            };
            Some(error["error"]["code"].as_str().unwrap_or("ok").to_owned())
        });
        sleep(LARGE_EVERY).await;
    }
    stage.heals();
    let codes: Vec<_> = large.join_all().await;
    let reasons = shed(&stage).await;
    let by_memory = reasons
        .iter()
        .any(|line| line.contains("\"bytes\"") || line.contains("\"pressure\""));
    stage.check("reason", by_memory, || {
        format!("nothing was refused for its bytes or for want of memory: {reasons:?}")
    });
    let count = |wanted: Option<&str>| {
        codes
            .iter()
            .filter(|code| code.as_deref() == wanted)
            .count()
    };
    let served = count(Some("ok"));
    let shed = count(Some("overloaded"));
    let lost = count(None);
    stage.check("shedding", shed > 0 && served > 0 && lost == 0, || {
        format!(
            "of {} large requests {served} were served, {shed} refused, {lost} lost",
            codes.len()
        )
    });
    println!(
        "     large requests: {served} served, {shed} refused; {} MiB at most; {reasons:?}",
        group.peak() / MIB
    );
    stage.recovers(SECOND * 5).await;
    let outcome = stage.ends().await;
    drop(group);
    outcome
}

/// Why how many requests were turned away at the door.
async fn shed(stage: &Stage) -> Vec<String> {
    let (_, text) = stage.routers[0].get("/metrics").await.unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("router_requests_shed_total"));
    lines.map(str::to_owned).collect()
}

fn soft_limit_of_files(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("our own child");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a limit");
    line.split_whitespace().nth(3).expect("a number").to_owned()
}

/// More would be a loop that does nothing else.
const ATTEMPTS_A_SECOND: f64 = 6.0;

/// The matrix wants readiness off; I7 holds it to be on, and that is right: requests come over a
/// connection that is there already, and all of them are served. A platform that took this router
/// out would only make the others do its work.
async fn no_descriptors(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let router = stage.routers[0].id();
    let before = soft_limit_of_files(router);
    let worked = cpu_time(router);
    let broken = stage.breaks();
    stage.routers[0].take_files();
    let http = stage.routers[0].http();
    let mut callers = Vec::new();
    while broken.elapsed() < pace.fault {
        // Where the queue of the listener is full, a connection waits for minutes.
        let connected = timeout(SECOND, TcpStream::connect(http)).await;
        callers.extend(connected.into_iter().flatten());
        sleep(SECOND / 10).await;
    }
    let lasted = broken.elapsed();
    let idle = cpu_time(router).saturating_sub(worked);
    let refused = stage.routers[0]
        .log()
        .matches("cannot accept an HTTP connection")
        .count();
    stage.check("fault", refused > 0, || {
        "every connection was accepted, so nothing was tested".to_owned()
    });
    let attempts = f64::from(u32::try_from(refused).unwrap_or(u32::MAX));
    let most = lasted.as_secs_f64() * ATTEMPTS_A_SECOND;
    stage.check("busy loop", attempts < most, || {
        format!("{refused} attempts to accept, and {idle:?} of work, in {lasted:?}")
    });
    stage.routers[0].limit_files(&before);
    drop(callers);
    stage.heals();
    stage.nobody_noticed(broken);
    stage.recovers(SECOND * 2).await;
    let healed = Instant::now();
    eventually(LIMIT, "probes are answered again", async || {
        stage.routers[0].readiness().await
    })
    .await;
    let took = healed.elapsed();
    stage.check("probes", took < SECOND * 4, || {
        format!("probes were answered {took:?} after the recovery")
    });
    stage.ends().await
}

/// Asks for the metrics some times at once and reads nothing.
async fn scraper(router: SocketAddr, requests: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    // Little room for answers that nobody takes.
    socket.set_recv_buffer_size(4_096).ok()?;
    let mut stream = socket.connect(router).await.ok()?;
    stream
        .write_all(
            "GET /metrics HTTP/1.1\r\nhost: router\r\n\r\n"
                .repeat(requests)
                .as_bytes(),
        )
        .await
        .ok()?;
    Some(stream)
}

/// More of them than the router has places, most with an answer that they do not read, some with
/// more than fits into the buffers between. There is no exporter of traces whose collector could be
/// away, too.
async fn scrapers_never_read(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let http = stage.routers[0].http();
    let broken = stage.breaks();
    let mut scrapers = Vec::new();
    while broken.elapsed() < pace.fault {
        for number in 0..100 {
            scrapers.extend(scraper(http, if number % 10 == 0 { 20 } else { 1 }).await);
        }
        sleep(SECOND / 2).await;
    }
    drop(scrapers);
    let (unanswered, probes) = stage.unanswered_probes(0, broken);
    stage.check("probes", unanswered * 5 <= probes, || {
        format!("{unanswered} of {probes} probes were not answered")
    });
    stage.heals();
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

async fn nobody_reads_the_log(pace: Pace) -> Outcome {
    let setting = Setting::default()
        .launched(Launch::PipedLog)
        .configured("telemetry.log_filter", "trace");
    let mut stage = Stage::set(pace, setting).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.routers[0].log_pipe().hold();
    // Enough lines to fill the pipe, and what waits for it.
    stage.load.set_rate(pace.rate * 3.0);
    let http = stage.routers[0].http();
    eventually(LIMIT, "lines are dropped and counted", async || {
        let counters = Counters::of(http).await?;
        (counters.get("router_log_lines_dropped_total") > 0.0).then_some(())
    })
    .await;
    stage.load.set_rate(pace.rate);
    stage.lasts().await;
    stage.routers[0].log_pipe().go_on();
    stage.heals();
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

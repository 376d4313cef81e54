//! What a process needs besides its peers runs out (C35, C36, C40, C41): memory, file descriptors, a reader of its metrics or
//! of its log. Requests go on.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

use super::outcome::Outcome;
use super::pace::Pace;
use super::stage::{Setting, Stage};
use super::watch::{Counters, cpu_time};
use super::{Scenario, scenarios};
use crate::support::{LIMIT, eventually};

pub(super) const SCENARIOS: &[Scenario] = scenarios! {
    "C36" "no file descriptors are left" no_descriptors;
    "C40" "scrapers never read" scrapers_never_read;
    "C41" "nobody reads the log" nobody_reads_the_log;
};

const SECOND: Duration = Duration::from_secs(1);

/// How many files a process may have open from now on; those that it has stay.
fn limit_files(pid: u32, most: &str) {
    let mut prlimit = Command::new("prlimit");
    let done = prlimit.args(["--pid", &pid.to_string(), &format!("--nofile={most}:")]).output();
    assert!(done.is_ok_and(|done| done.status.success()), "prlimit of util-linux");
}

fn soft_limit_of_files(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("our own child");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    line.split_whitespace().nth(3).expect("a number").to_owned()
}

async fn no_descriptors(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let router = stage.routers[0].id();
    let (before, worked) = (soft_limit_of_files(router), cpu_time(router));
    let open = std::fs::read_dir(format!("/proc/{router}/fd")).expect("our own child").count();
    let broken = stage.breaks();
    limit_files(router, &open.to_string());
    let http = stage.routers[0].http();
    let mut callers = Vec::new();
    while broken.elapsed() < pace.fault {
        callers.extend(TcpStream::connect(http).await);
        sleep(SECOND / 10).await;
    }
    let idle = cpu_time(router).saturating_sub(worked);
    let refused = stage.routers[0].log().matches("cannot accept an HTTP connection").count();
    stage.check("fault", refused > 0, || "every connection was accepted, so nothing was tested".to_owned());
    let pace_of_log = pace.fault.as_secs_f64() * 6.0;
    stage.check("busy loop", f64::from(u32::try_from(refused).unwrap_or(u32::MAX)) < pace_of_log, || {
        format!("{refused} attempts to accept, and {idle:?} of work, in {:?}", pace.fault)
    });
    limit_files(router, &before);
    drop(callers);
    stage.heals();
    stage.nobody_noticed(broken);
    stage.recovers(SECOND * 2).await;
    let healed = Instant::now();
    eventually(LIMIT, "probes are answered again", async || stage.routers[0].readiness().await).await;
    let took = healed.elapsed();
    stage.check("probes", took < SECOND * 4, || format!("probes were answered {took:?} after the recovery"));
    stage.ends().await
}

/// Asks for the metrics some times at once and reads nothing.
async fn scraper(router: SocketAddr, requests: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    // Little room for answers that nobody takes.
    socket.set_recv_buffer_size(4_096).ok()?;
    let mut stream = socket.connect(router).await.ok()?;
    stream.write_all("GET /metrics HTTP/1.1\r\nhost: router\r\n\r\n".repeat(requests).as_bytes()).await.ok()?;
    Some(stream)
}

/// More of them than the router has places, most with an answer that they do not read, some with more than fits into the
/// buffers between. There is no exporter of traces whose collector could be away, too.
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
    stage.check("probes", unanswered * 5 <= probes, || format!("{unanswered} of {probes} probes were not answered"));
    stage.heals();
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

async fn nobody_reads_the_log(pace: Pace) -> Outcome {
    // Enough lines to fill the pipe, and what waits for it.
    let settings = vec![("telemetry.log_filter", "trace,async_nats=trace".to_owned())];
    let mut stage = Stage::set(pace, Setting { log_pipe: true, settings, ..Setting::default() }).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.routers[0].log_pipe().hold();
    let http = stage.routers[0].http();
    eventually(LIMIT, "lines are dropped and counted", async || {
        let counters = Counters::of(http).await?;
        (counters.get("router_log_lines_dropped_total") > 0.0).then_some(())
    })
    .await;
    stage.lasts().await;
    stage.routers[0].log_pipe().go_on();
    stage.heals();
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

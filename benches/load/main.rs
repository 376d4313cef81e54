//! What a router does with more load than it can carry: an open loop of requests at multiples of its capacity, which goes
//! on sending whatever comes back, as clients in the world do.
//!
//! It starts a nats-server, a router and stubs of extensions of its own on this machine, and ends by itself. The promises
//! are ratios within one run: at ten times the capacity nine tenths of the peak are still served, and 5 s after the end
//! of the load everything is as before.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement may panic: it measures nothing then"
)]

mod generator;
mod options;
mod report;
mod world;

use std::time::Duration;

use generator::{Clients, Generator};
use options::Options;
use report::Row;
use world::World;

/// Multiples of the capacity.
const LEVELS: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];

fn main() {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        return;
    };
    if options.apart {
        // Before there is a thread that would stay.
        world::leave_to_router();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(&options));
}

/// Clients that find out the capacity where no limit says how many there should be: enough for the processors, and as many
/// again as wait for the provider meanwhile.
fn enough_at_once(provider_ms: u64) -> usize {
    64 + usize::try_from(provider_ms * 5)
        .unwrap_or(usize::MAX)
        .min(400)
}

async fn measure(options: &Options) {
    let world = World::start(options).await;
    let generator = Generator::connect(&world).await;
    let say = |line: &str| {
        if !options.json {
            println!("{line}");
        }
    };
    let limit = options.limit.map_or("as by default".to_owned(), |limit| {
        format!("fixed at {limit}")
    });
    say(&format!(
        "limit {limit}, provider {} ms, {} s a level, router and nats-server {}",
        options.provider_ms,
        options.seconds.as_secs(),
        if options.apart {
            "on a processor of their own"
        } else {
            "on the processors of all"
        }
    ));
    let at_once = options
        .limit
        .unwrap_or_else(|| enough_at_once(options.provider_ms));
    eprintln!("[0/6] capacity ...");
    generator.closed_loop(at_once, Duration::from_secs(2)).await;
    let capacity = generator.closed_loop(at_once, Duration::from_secs(5)).await;
    say(&format!(
        "capacity, with {at_once} requests at once: {capacity:.0}/s\n"
    ));

    let runs = LEVELS
        .map(|level| (level, Clients::Patient))
        .into_iter()
        .chain([(10.0, Clients::RetryingThrice)]);
    let mut rows: Vec<Row> = Vec::new();
    for (number, (level, clients)) in runs.enumerate() {
        eprintln!(
            "[{}/6] {level}x for {} s ...",
            number + 1,
            options.seconds.as_secs()
        );
        let before = world.router_cpu();
        let run = generator
            .open_loop(capacity * level, options.seconds, clients)
            .await;
        let cpu = world.router_cpu().saturating_sub(before);
        let usual = rows.first().map_or(run.p99, |unloaded| unloaded.p99);
        let recovery = generator.recovery(usual).await;
        let row = Row {
            level,
            clients,
            cpu,
            recovery,
            memory: world.router_memory(),
            ..Row::of(&run)
        };
        if rows.is_empty() {
            say(Row::HEADER);
        }
        say(&row.to_string());
        rows.push(row);
    }
    if options.json {
        println!("{}", report::document(capacity, &rows));
    } else {
        report::verdict(&rows);
    }
}

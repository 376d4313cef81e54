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
    let Some(options) = Options::read(std::env::args().skip(1)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&options));
}

async fn measure(options: &Options) {
    let world = World::start(options).await;
    let generator = Generator::connect(&world).await;
    println!(
        "router.max_in_flight {}, provider {} ms, {} s a level",
        options.limit,
        options.provider_ms,
        options.seconds.as_secs()
    );
    generator.closed_loop(options.limit, Duration::from_secs(2)).await;
    let capacity = generator.closed_loop(options.limit, Duration::from_secs(5)).await;
    println!("capacity, with as many requests at once as may be in flight: {capacity:.0}/s\n");

    let runs = LEVELS.map(|level| (level, Clients::Patient)).into_iter().chain([(10.0, Clients::RetryingThrice)]);
    let mut rows: Vec<Row> = Vec::new();
    for (level, clients) in runs {
        let before = world.router_cpu();
        let run = generator.open_loop(capacity * level, options.seconds, clients).await;
        let cpu = world.router_cpu().saturating_sub(before);
        let usual = rows.first().map_or(run.p99, |unloaded| unloaded.p99);
        let recovery = generator.recovery(usual).await;
        let row = Row { level, clients, cpu, recovery, memory: world.router_memory(), ..Row::of(&run) };
        if rows.is_empty() {
            println!("{}", Row::HEADER);
        }
        println!("{row}");
        rows.push(row);
    }
    report::verdict(&rows);
}

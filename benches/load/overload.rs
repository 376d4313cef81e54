//! An open loop of requests at multiples of the router's capacity, which goes on sending whatever
//! comes back, as clients in the world do.
//!
//! The promises are ratios within one run: at ten times the capacity nine tenths of the peak are
//! still served, and 5 s after the end of the load everything is as before.

mod report;

use std::path::PathBuf;
use std::time::Duration;

use crate::generator::{Clients, Generator, ROUTE, Until};
use crate::options::{Output, Overload};
use crate::world::{Setup, World};
use report::Row;

/// Multiples of the capacity.
const LEVELS: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];

pub(crate) async fn measure(options: &Overload) {
    let world = World::start(&setup(options)).await;
    let generator = Generator::connect(&world).await;
    let time = Duration::from_secs(options.seconds);
    let at_once = options
        .limit
        .unwrap_or_else(|| enough_at_once(options.provider_ms));
    eprintln!("[0/6] capacity ...");
    let warm_up = Until::Elapsed(Duration::from_secs(2));
    generator.closed_loop(&ROUTE, at_once, warm_up).await;
    let long_enough = Until::Elapsed(Duration::from_secs(5));
    let found = generator.closed_loop(&ROUTE, at_once, long_enough).await;
    let capacity = found.per_second();
    if options.output == Output::Table {
        print_head(options, at_once, capacity);
    }

    let runs = LEVELS
        .map(|level| (level, Clients::Patient))
        .into_iter()
        .chain([(10.0, Clients::RetryingThrice)]);
    let mut rows: Vec<Row> = Vec::new();
    for (number, (level, clients)) in runs.enumerate() {
        eprintln!("[{}/6] {level}x for {} s ...", number + 1, options.seconds);
        let before = world.router_cpu();
        let run = generator.open_loop(capacity * level, time, clients).await;
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
        if options.output == Output::Table {
            if rows.is_empty() {
                println!("{}", Row::HEADER);
            }
            println!("{row}");
        }
        rows.push(row);
    }
    match options.output {
        Output::Json => println!("{}", report::document(capacity, &rows)),
        Output::Table => report::verdict(&rows),
    }
}

fn setup(options: &Overload) -> Setup {
    let mut settings = Vec::new();
    if let Some(limit) = options.limit {
        let places = limit.max(500).to_string();
        settings.push(("router.adaptive_limit".to_owned(), "false".to_owned()));
        settings.push(("router.max_in_flight".to_owned(), limit.to_string()));
        settings.push(("router.max_in_flight_per_extension".to_owned(), places));
    }
    settings.extend(options.settings.iter().cloned());
    Setup {
        router: PathBuf::from(env!("CARGO_BIN_EXE_beamline-router")),
        settings,
        provider_takes: Duration::from_millis(options.provider_ms),
        apart: !options.together,
    }
}

/// Clients that find out the capacity where no limit says how many there should be: enough for the
/// processors, and as many again as wait for the provider meanwhile.
fn enough_at_once(provider_ms: u64) -> usize {
    64 + usize::try_from(provider_ms * 5)
        .unwrap_or(usize::MAX)
        .min(400)
}

fn print_head(options: &Overload, at_once: usize, capacity: f64) {
    let limit = options.limit.map_or("as by default".to_owned(), |limit| {
        format!("fixed at {limit}")
    });
    let place = if options.together {
        "on the processors of all"
    } else {
        "on a processor of their own"
    };
    println!(
        "limit {limit}, provider {} ms, {} s a level, router and nats-server {place}",
        options.provider_ms, options.seconds,
    );
    println!("capacity, with {at_once} requests at once: {capacity:.0}/s\n");
}

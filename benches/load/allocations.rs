//! What a request costs the router in heap allocations. The router counts them itself, if it was
//! built to, and everything else of the measurement is in other processes.

use std::path::PathBuf;
use std::time::Duration;

use crate::generator::{DECIDE, Generator, ROUTE, Request, Until};
use crate::options::Allocations;
use crate::world::{Setup, World};

/// Requests after which pools and tables have the size that they keep.
const WARM_UP: usize = 1000;

/// A request, and how many allocations it may cost.
#[derive(Debug)]
struct Promise {
    name: &'static str,
    request: &'static Request,
    at_most: f64,
}

const PROMISES: [Promise; 2] = [
    Promise {
        name: "route with four calls",
        request: &ROUTE,
        at_most: 400.0,
    },
    Promise {
        name: "decide without extensions",
        request: &DECIDE,
        at_most: 130.0,
    },
];

/// What the router has counted since its start.
#[derive(Debug, Clone, Copy)]
struct Count {
    allocations: u64,
    reallocations: u64,
    bytes: u64,
}

pub(crate) async fn measure(options: &Allocations) {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_beamline-router"));
    let setup = Setup {
        router: options.router.clone().unwrap_or(built),
        settings: vec![("router.adaptive_limit".to_owned(), "false".to_owned())],
        provider_takes: Duration::ZERO,
        apart: false,
    };
    let world = World::start(&setup).await;
    let generator = Generator::connect(&world).await;
    println!(
        "heap allocations of the router for each of {} requests, {} in flight",
        options.requests, options.at_once
    );
    println!("                           allocations  grown    bytes");
    for promise in &PROMISES {
        print_cost(promise, &world, &generator, options).await;
    }
}

async fn print_cost(
    promise: &Promise,
    world: &World,
    generator: &Generator,
    options: &Allocations,
) {
    let request = promise.request;
    generator
        .closed_loop(request, options.at_once, Until::Sent(WARM_UP))
        .await;
    let before = Count::read(world).await;
    let done = generator
        .closed_loop(request, options.at_once, Until::Sent(options.requests))
        .await;
    let after = Count::read(world).await;
    assert!(done.failed == 0, "{} requests were not served", done.failed);
    let each = |total: u64| total as f64 / done.served as f64;
    // A block that grows costs what a new one costs.
    let grown = each(after.reallocations - before.reallocations);
    let allocations = each(after.allocations - before.allocations) + grown;
    let bytes = each(after.bytes - before.bytes);
    let verdict = if allocations <= promise.at_most {
        "holds"
    } else {
        "DOES NOT HOLD"
    };
    println!(
        "{:<26} {allocations:>11.1} {grown:>6.1} {bytes:>8.0}   at most {}: {verdict}",
        promise.name, promise.at_most,
    );
}

impl Count {
    async fn read(world: &World) -> Self {
        let metrics = world.metrics().await;
        let figure = |name: &str| {
            metrics
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
                .unwrap_or_else(|| {
                    panic!("no {name} in /metrics; build with --features count-allocations")
                })
        };
        Self {
            allocations: figure("router_allocations_total"),
            reallocations: figure("router_reallocations_total"),
            bytes: figure("router_allocated_bytes_total"),
        }
    }
}

//! What a request costs the router in heap allocations. The router counts them itself, if it was built to, and everything
//! else of the measurement is in other processes.

use std::path::PathBuf;
use std::time::Duration;

use crate::generator::{DECIDE, Generator, ROUTE, Request, Until};
use crate::options::Allocations;
use crate::world::{Setup, World};

/// Requests after which pools and tables have the size that they keep.
const WARM_UP: usize = 1000;

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
    println!("                                   allocations  reallocations     bytes");
    let requests = [
        ("route with four calls", &ROUTE),
        ("decide without extensions", &DECIDE),
    ];
    for (name, request) in requests {
        print_cost(name, request, &world, &generator, options).await;
    }
}

async fn print_cost(
    name: &str,
    request: &'static Request,
    world: &World,
    generator: &Generator,
    options: &Allocations,
) {
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
    println!(
        "{name:<34} {:>11.1} {:>14.1} {:>9.0}",
        each(after.allocations - before.allocations),
        each(after.reallocations - before.reallocations),
        each(after.bytes - before.bytes),
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

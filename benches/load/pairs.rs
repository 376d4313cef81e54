//! The throughput of two routers, in turns: each round loads one and then the other, and their
//! order changes from round to round, so that what else the machine does meanwhile meets both
//! alike.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::generator::{Generator, ROUTE, Until};
use crate::options::Pairs;
use crate::world::{Setup, World};

const WARM_UP: Duration = Duration::from_secs(2);

/// One of the two.
#[derive(Debug)]
struct Contender {
    world: World,
    generator: Generator,
}

/// What one run measured.
#[derive(Debug, Clone, Copy)]
struct Run {
    per_second: f64,
    /// Time on the processor for each request, in microseconds.
    cpu: f64,
}

/// Two runs, one right after the other.
#[derive(Debug)]
struct Pair {
    base: Run,
    new: Run,
}

pub(crate) async fn measure(options: &Pairs) {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_beamline-router"));
    let new = options.new.as_ref().unwrap_or(&built);
    let base = Contender::start(&options.base, options).await;
    let new = Contender::start(new, options).await;
    println!("route with four calls, {} in flight", options.at_once);
    println!("round    base/s     new/s   ratio   base cpu us    new cpu us   ratio");
    let mut pairs = Vec::new();
    for round in 1..=options.rounds {
        let pair = if round % 2 == 1 {
            let base = base.run(options).await;
            let new = new.run(options).await;
            Pair { base, new }
        } else {
            let new = new.run(options).await;
            let base = base.run(options).await;
            Pair { base, new }
        };
        print_row(&round.to_string(), &pair);
        pairs.push(pair);
    }
    print_summary(&pairs);
    println!(
        "memory: base {} MiB, new {} MiB",
        base.world.router_memory(),
        new.world.router_memory()
    );
}

impl Contender {
    async fn start(router: &Path, options: &Pairs) -> Self {
        let setup = Setup {
            router: std::path::absolute(router).expect("a path"),
            // A limit that follows the lag would measure the neighbours.
            settings: vec![("router.adaptive_limit".to_owned(), "false".to_owned())],
            provider_takes: Duration::ZERO,
            apart: !options.together,
        };
        let world = World::start(&setup).await;
        let generator = Generator::connect(&world).await;
        generator
            .closed_loop(&ROUTE, options.at_once, Until::Elapsed(WARM_UP))
            .await;
        Self { world, generator }
    }

    async fn run(&self, options: &Pairs) -> Run {
        let before = self.world.router_cpu();
        let time = Duration::from_secs(options.seconds);
        let done = self
            .generator
            .closed_loop(&ROUTE, options.at_once, Until::Elapsed(time))
            .await;
        let cpu = self.world.router_cpu().saturating_sub(before);
        assert!(done.failed == 0, "{} requests were not served", done.failed);
        Run {
            per_second: done.per_second(),
            cpu: cpu.as_secs_f64() * 1e6 / done.served as f64,
        }
    }
}

fn print_summary(pairs: &[Pair]) {
    let median = Pair {
        base: median_of(pairs.iter().map(|pair| pair.base)),
        new: median_of(pairs.iter().map(|pair| pair.new)),
    };
    print_row("median", &median);
    let throughput = pairs
        .iter()
        .map(|pair| pair.new.per_second / pair.base.per_second);
    print_ratio("throughput", throughput);
    let cpu = pairs.iter().map(|pair| pair.new.cpu / pair.base.cpu);
    print_ratio("processor time", cpu);
}

fn print_row(name: &str, pair: &Pair) {
    println!(
        "{name:<6} {:>8.0} {:>9.0} {:>7.3} {:>13.1} {:>13.1} {:>7.3}",
        pair.base.per_second,
        pair.new.per_second,
        pair.new.per_second / pair.base.per_second,
        pair.base.cpu,
        pair.new.cpu,
        pair.new.cpu / pair.base.cpu,
    );
}

/// The ratios of pairs, not the ratio of the medians: the two runs of a pair met the same machine.
fn print_ratio(what: &str, ratios: impl Iterator<Item = f64>) {
    let sorted = sorted(ratios);
    println!(
        "{what}, new to base: median {:.3}, half of the pairs from {:.3} to {:.3}, all from {:.3} to {:.3}",
        at(&sorted, 0.5),
        at(&sorted, 0.25),
        at(&sorted, 0.75),
        at(&sorted, 0.0),
        at(&sorted, 1.0),
    );
}

fn median_of(runs: impl Iterator<Item = Run> + Clone) -> Run {
    Run {
        per_second: at(&sorted(runs.clone().map(|run| run.per_second)), 0.5),
        cpu: at(&sorted(runs.map(|run| run.cpu)), 0.5),
    }
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A quantile, between its neighbours where it falls between two.
fn at(sorted: &[f64], quantile: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * quantile;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

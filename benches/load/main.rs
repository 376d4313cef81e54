//! A router on a real NATS server, measured from outside: what it does with more load than it can
//! carry, whether it is as fast as another build of it, and what a request costs in heap
//! allocations.
//!
//! Each measurement starts a nats-server, a router and stubs of extensions of its own on this
//! machine, and ends by itself. A figure counts as a ratio within one run, because the machine is
//! somebody else's too.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement may panic: it measures nothing then"
)]

mod allocations;
mod generator;
mod options;
mod overload;
mod pairs;
mod world;

use clap::Parser;
use options::{Measurement, Options};

fn main() {
    if options::is_a_test_run() {
        return;
    }
    let options = Options::parse();
    if options.measurement.keeps_apart() {
        // Before there is a thread that would stay.
        world::leave_to_router();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match &options.measurement {
            Measurement::Overload(options) => overload::measure(options).await,
            Measurement::Pairs(options) => pairs::measure(options).await,
            Measurement::Allocations(options) => allocations::measure(options).await,
        }
    });
}

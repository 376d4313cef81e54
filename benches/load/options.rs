//! What may be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(bin_name = "load", disable_help_subcommand = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) measurement: Measurement,
    /// Said by `cargo bench`.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Measurement {
    /// More and more requests a second, up to ten times what the router can do (`make load`).
    Overload(Overload),
    /// The throughput of two routers, in turns (`make pairs`).
    Pairs(Pairs),
    /// Heap allocations of the router for each request (`make bench`).
    Allocations(Allocations),
}

#[derive(Debug, Args)]
pub(crate) struct Overload {
    /// Time of each level.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// A fixed limit of so many requests in flight, instead of the router's defaults.
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// Leave router and nats-server on the processors of all, instead of one of their own.
    #[arg(long)]
    pub(crate) together: bool,
    /// One document instead of the table.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// What the provider takes; 0 makes the processor the bottleneck.
    #[arg(long, default_value_t = 40)]
    pub(crate) provider_ms: u64,
    /// A setting of the router, such as `router.tenant_rate=100`.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Pairs {
    /// The program that the other is compared with.
    #[arg(long, value_name = "FILE")]
    pub(crate) base: PathBuf,
    /// The program that is judged [default: the one that was built just now].
    #[arg(long, value_name = "FILE")]
    pub(crate) new: Option<PathBuf>,
    /// Pairs of runs. Many short ones tell more than a few long ones: what else the machine does
    /// changes by the second.
    #[arg(long, default_value_t = 20)]
    pub(crate) rounds: usize,
    /// Time of each run.
    #[arg(long, default_value_t = 1)]
    pub(crate) seconds: u64,
    /// Requests in flight.
    #[arg(long, default_value_t = 32)]
    pub(crate) at_once: usize,
    /// Leave routers and nats-servers on the processors of all, instead of one of their own.
    #[arg(long)]
    pub(crate) together: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Allocations {
    /// Requests that are counted, of each kind.
    #[arg(long, default_value_t = 4000)]
    pub(crate) requests: usize,
    /// Requests in flight.
    #[arg(long, default_value_t = 32)]
    pub(crate) at_once: usize,
    /// The program that is measured, with the feature `count-allocations` [default: the one that
    /// was built just now].
    #[arg(long, value_name = "FILE")]
    pub(crate) router: Option<PathBuf>,
}

impl Measurement {
    pub(crate) fn keeps_apart(&self) -> bool {
        match self {
            Self::Overload(options) => !options.together,
            Self::Pairs(options) => !options.together,
            Self::Allocations(_) => false,
        }
    }
}

/// `cargo test` and cargo-nextest only want to know that it builds.
pub(crate) fn is_a_test_run() -> bool {
    std::env::args().any(|argument| argument == "--list" || argument == "--test")
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("has no =")?;
    Ok((key.to_owned(), value.to_owned()))
}

//! Parse what was typed, run it, end with its exit code. What a router does when it starts and
//! stops is in `cli/serve.rs`.

use std::process::ExitCode;

use beamline_router::cli::{self, Failure};

#[cfg(all(feature = "mimalloc", not(feature = "count-allocations")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let cli = match cli::typed::read(&words) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let console = cli.console();
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let outcome = runtime.block_on(cli::run(cli, console));
            // A name lookup that hangs in a thread of its own must not keep the process from
            // ending.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::Failed(format!(
            "no threads can be started: {error}. Check the limits of this user."
        ))),
    };
    console.finish(outcome)
}

//! `beamline-mock-provider`: a provider that echoes its prompt, and is slow or failing on demand.

use std::process::ExitCode;

use beamline_extension::{Extension, Settings};
use beamline_reference_extensions::mock_provider::{Behaviour, MockProvider, config_schema};
use clap::Parser;

/// A provider that echoes its prompt, and is slow or failing on demand
#[derive(Debug, Parser)]
struct Flags {
    /// Id under which this process serves, so that several mock providers can run side by side
    #[arg(long, env = "BEAMLINE_PROVIDER_ID", default_value = "mock_provider")]
    id: String,
    #[command(flatten)]
    behaviour: Behaviour,
    /// Seed for jitter and failures, for runs that can be repeated
    #[arg(long, env = "BEAMLINE_MOCK_SEED")]
    seed: Option<u64>,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Flags {
        id,
        behaviour,
        seed,
        settings,
    } = Flags::parse();
    let mock = MockProvider::new(behaviour, seed);
    Extension::provider(id, move |prompt, call| mock.clone().handle(prompt, call))
        .with_config_schema(config_schema())
        .run_with(&settings)
        .await
}

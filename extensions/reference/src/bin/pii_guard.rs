//! `beamline-pii-guard`: the validator `pii_guard`.

use std::process::ExitCode;

use beamline_extension::Extension;
use beamline_reference_extensions::pii_guard;

#[tokio::main]
async fn main() -> ExitCode {
    Extension::validator("pii_guard", pii_guard::handle)
        .with_config_schema(pii_guard::config_schema())
        .run()
        .await
}

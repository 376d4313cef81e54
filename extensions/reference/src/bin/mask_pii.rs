//! `beamline-mask-pii`: the post-processor `mask_pii`.

use std::process::ExitCode;

use beamline_extension::Extension;
use beamline_reference_extensions::mask_pii;

#[tokio::main]
async fn main() -> ExitCode {
    Extension::post("mask_pii", mask_pii::handle)
        .with_config_schema(mask_pii::config_schema())
        .run()
        .await
}

//! `beamline-normalize-text`: the pre-processor `normalize_text`.

use std::process::ExitCode;

use beamline_extension::Extension;
use beamline_reference_extensions::normalize_text;

#[tokio::main]
async fn main() -> ExitCode {
    Extension::pre("normalize_text", normalize_text::handle)
        .with_config_schema(normalize_text::config_schema())
        .run()
        .await
}

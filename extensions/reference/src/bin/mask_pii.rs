//! `beamline-mask-pii`: the post-processor `mask_pii`, and the pre-processor `mask_pii_in` whose
//! placeholders it puts back. Both are one program, because one has the other's notes.

use std::process::ExitCode;

use beamline_extension::{Extension, Program};
use beamline_reference_extensions::{mask_pii, mask_pii_in};

#[tokio::main]
async fn main() -> ExitCode {
    let extensions = [
        Extension::post("mask_pii", mask_pii::handle).with_config_schema(mask_pii::config_schema()),
        Extension::pre("mask_pii_in", mask_pii_in::handle)
            .with_config_schema(mask_pii_in::config_schema()),
    ];
    Program::new("mask_pii", extensions).run().await
}

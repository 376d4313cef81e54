//! The extensions that the embedded default runs: text normalisation, PII detection and masking,
//! and a mock provider. Each program in `src/bin` is a few lines around one module of this library.

pub mod mask_pii;
pub mod mask_pii_in;
pub mod mock_provider;
pub mod normalize_text;
pub mod pii_guard;

mod json_text;
pub mod pii;

#[cfg(test)]
mod config_tests;

//! The committed schemas are current, and real documents fit them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod current;
mod fit;

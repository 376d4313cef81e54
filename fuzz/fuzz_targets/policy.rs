//! Any bytes as a policy document.

#![no_main]

use beamline_actors::domain::policy::invariants;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| invariants::check(bytes));

//! Any bytes as a policy document.

#![no_main]

use beamline_domain::policy::invariants;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| invariants::check(bytes));

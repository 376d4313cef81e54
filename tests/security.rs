//! Attacks on a running router, each a test named after what it tries.

mod keys;
mod signatures;

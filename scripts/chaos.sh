#!/usr/bin/env bash
# The whole fault matrix, one scenario after the other, and a table in the end. Loopback only; what it starts ends with it.
#   CHAOS_ONLY=C9,C10    only these scenarios
#   CHAOS_PACE=quick     seconds instead of minutes (default: full)
#   CHAOS_SEED=123       the schedule of C42 again
#   CHAOS_JSON=FILE      the table also as JSON
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/postgres.sh
trap stop_postgres EXIT
trap 'exit 130' INT TERM

has cargo || fail "Rust is missing. Install it with rustup or your package manager, and try again."
unset BEAMLINE_CONFIG BEAMLINE_OUTPUT
# The tests run in another directory.
if [ -n "${CHAOS_JSON:-}" ]; then CHAOS_JSON=$(realpath -m "$CHAOS_JSON"); export CHAOS_JSON; fi
ensure_nats_server
ensure_postgres
# The same build as for `make test`: fail points are in builds for tests only.
cargo build --workspace --all-targets --locked
RUST_BACKTRACE=0 cargo test --locked --workspace --test chaos -- --ignored --exact --nocapture matrix::the_whole_matrix

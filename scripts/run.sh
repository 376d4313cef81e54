#!/usr/bin/env bash
# Everything on one machine: installs nats-server if it is missing, builds, starts `beamline-router up`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

has cargo || fail "Rust is missing. Install it with rustup or your package manager, and try again."
ensure_nats_server
# The dev profile: a release build takes several times as long and is not needed to try things out.
cargo build --workspace --bins --locked
exec "${CARGO_TARGET_DIR:-target}/debug/beamline-router" up "$@"

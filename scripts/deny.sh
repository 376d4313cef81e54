#!/usr/bin/env bash
# Licences, sources and bans of the dependencies, as deny.toml has them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

has cargo-deny || fail "cargo-deny is missing. Install it with: cargo install --locked cargo-deny"
# The advisories come from a repository of their own; `cargo deny check advisories` fetches it.
cargo deny --all-features check bans licenses sources

#!/usr/bin/env bash
# The direction of dependencies: each crate may know only what stands before it in the layout.
#   direction.sh             checks the manifests
#   direction.sh --self-test proves that the check finds what it looks for
set -euo pipefail
cd "$(dirname "$0")/.."

# A crate, and the crates that must not be among its dependencies, however deep.
world='sqlx|async-nats|axum|hyper|tonic|reqwest'
runtime='tokio|ractor|parking_lot|arc-swap'
rules=(
  "beamline-contract $world|$runtime|beamline-domain|beamline-actors|beamline-bus"
  "beamline-domain $world|$runtime|beamline-actors|beamline-bus"
  "beamline-actors $world|beamline-bus"
)

# Reads names of crates, one a line, and answers those that are forbidden, with everything that starts like them.
violations() { grep -E "^($1)(-|$)" || true; }

if [ "${1:-}" = --self-test ]; then
  planted=$(printf '%s\n' serde sqlx-core tokio async-nats axumatic | violations "$world|$runtime" | tr '\n' ' ')
  [ "$planted" = "sqlx-core tokio async-nats " ] || { echo "error: the check found '$planted' of the planted names" >&2; exit 1; }
  exit
fi

for rule in "${rules[@]}"; do
  crate=${rule%% *} forbidden=${rule#* }
  crates=$(cargo tree --locked -p "$crate" -e normal --prefix none --format '{p}' | awk '{print $1}' | sort -u)
  [ -n "$crates" ] || { echo "error: cargo tree names no crates of $crate; the check would prove nothing" >&2; exit 1; }
  found=$(violations "$forbidden" <<<"$crates")
  if [ -n "$found" ]; then
    echo "error: $crate must not depend on:" $found >&2
    echo "What touches the world belongs into the root package, behind the interfaces in actors/src/ports.rs; rules into domain." >&2
    exit 1
  fi
done

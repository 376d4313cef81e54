#!/usr/bin/env bash
# The direction of dependencies: what the router decides knows no SQL, no NATS and no HTTP.
#   direction.sh             checks beamline-actors
#   direction.sh --self-test proves that the check finds what it looks for
set -euo pipefail
cd "$(dirname "$0")/.."

forbidden='sqlx|async-nats|axum|hyper|tonic|reqwest'

# Reads names of crates, one a line, and answers those that are forbidden, with everything that starts like them.
violations() { grep -E "^($forbidden)(-|$)" || true; }

if [ "${1:-}" = --self-test ]; then
  planted=$(printf '%s\n' serde sqlx-core tokio async-nats axumatic | violations | tr '\n' ' ')
  [ "$planted" = "sqlx-core async-nats " ] || { echo "error: the check found '$planted' of the planted names" >&2; exit 1; }
  exit
fi

crates=$(cargo tree --locked -p beamline-actors -e normal --prefix none --format '{p}' | awk '{print $1}' | sort -u)
[ -n "$crates" ] || { echo "error: cargo tree names no crates; the check would prove nothing" >&2; exit 1; }
found=$(violations <<<"$crates")
if [ -n "$found" ]; then
  echo "error: beamline-actors must not depend on:" $found >&2
  echo "Put what touches the world into the root package, behind the interfaces in actors/src/ports.rs." >&2
  exit 1
fi

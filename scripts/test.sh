#!/usr/bin/env bash
# Everything that CI checks, in the order in which a mistake shows soonest. Each step is timed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/postgres.sh

steps=()
step=
started=0

end_step() {
  [ -n "$step" ] || return 0
  steps+=("$(printf '%-34s %-6s %5d s' "$step" "$1" $((SECONDS - started)))")
  step=
}

begin_step() {
  end_step ok
  step=$1 started=$SECONDS
  say ""
  say "== $step"
}

finish() {
  local code=$?
  trap - EXIT
  if [ "$code" -eq 0 ]; then end_step ok; else end_step FAILED; fi
  stop_postgres
  say ""
  if [ "${#steps[@]}" -gt 0 ]; then printf '%s\n' "${steps[@]}" >&2; fi
  say "$(printf '%-34s %-6s %5d s' total "$([ "$code" -eq 0 ] && echo ok || echo FAILED)" "$SECONDS")"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# cargo-nextest ends tests that hang, and its report says which tests are slow or flaky. Without it the tests of one program
# share a process, which they must not mind.
run_tests() {
  if ! has cargo-nextest; then
    say "cargo-nextest is not installed: nothing ends a test that hangs, and there is no report"
    cargo test --workspace --locked --no-fail-fast
    return
  fi
  local code=0 report
  report=$(target_directory)/nextest/default/junit.xml
  rm -f "$report"
  cargo nextest run --workspace --locked --no-fail-fast || code=$?
  scripts/report.sh "$report" >&2 || code=$?
  return "$code"
}

target_directory() {
  cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

has cargo || fail "Rust is missing. Install it with rustup or your package manager, and try again."
# The tests name what they need themselves.
unset BEAMLINE_CONFIG BEAMLINE_OUTPUT

begin_step "nats-server and PostgreSQL"
ensure_nats_server
ensure_postgres
has pgbouncer || install_package pgbouncer || say "PgBouncer cannot be installed here: its test is left out"
say "$(nats-server --version); tests use $BEAMLINE_TEST_POSTGRES_URL"

begin_step "languages of the examples"
scripts/gateways.sh

begin_step "format"
cargo fmt --all --check

begin_step "direction of dependencies"
scripts/direction.sh --self-test
scripts/direction.sh

begin_step "unused dependencies"
scripts/unused.sh --self-test
scripts/unused.sh

begin_step "licences, bans, sources, advisories"
scripts/deny.sh
scripts/pin-images.sh --self-test

begin_step "rules and dashboards"
scripts/observability.sh quick

begin_step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

# There are no examples. Asked for, they bring the features of the tests, and what the lints have compiled serves again.
begin_step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --lib --examples --locked --quiet

# All targets of all crates at once, here and for the tests: any other selection has other features, and builds anew.
begin_step "build"
cargo build --workspace --all-targets --locked

begin_step "examples in the documentation"
cargo test --workspace --doc --locked --quiet

begin_step "tests"
scripts/report.sh --self-test
run_tests

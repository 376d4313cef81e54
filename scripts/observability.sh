#!/usr/bin/env bash
# Checks the rules, alerts and dashboards of docker/.
#   scripts/observability.sh quick      they name metrics and labels of docs/metrics.md only
#   scripts/observability.sh            also: promtool, and every expression asked of a real
#                                       Prometheus that scrapes a router under load
#   scripts/observability.sh pictures   draws the dashboards into docs/images/, from eight minutes
#                                       of load and faults
#   BEAMLINE_PROGRAMS=DIR               the programs to start, in place of those that it builds
#   BEAMLINE_METRICS=FILE               the table of metrics, in place of docs/metrics.md
# Loopback only, on free ports. What it starts ends with it, after fifteen minutes at the latest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

own=$PWD/.beamline/observability
metrics=${BEAMLINE_METRICS:-docs/metrics.md}

# A parser of PromQL, in a folder of its own, made anew when the list of what is in it changes.
ensure_python() {
  local wanted=scripts/observability/requirements.txt
  has python3 || install_package python3 || true
  has python3 || fail "Python is missing. Install Python 3.11 or newer, and try again."
  export PYTHONPATH=$own/python PYTHONDONTWRITEBYTECODE=1
  cmp -s "$wanted" "$own/python/installed.txt" && return
  say "installing a parser of PromQL into .beamline/observability"
  python3 -m pip --version >/dev/null 2>&1 || install_package python3-pip ||
    fail "pip cannot be installed here. Install it (apt-get install python3-pip), and try again."
  rm -rf "$own/python" && mkdir -p "$own/python"
  into_own --require-hashes --only-binary :all: -r "$wanted" ||
    fail "promql-parser cannot be installed here: see $wanted"
  cp "$wanted" "$own/python/installed.txt"
}

into_own() {
  python3 -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --root-user-action ignore \
    --target "$own/python" "$@" >&2
}

# Debian's package would start a server of its own at port 9090, so it is only unpacked. That needs
# no rights of an administrator either.
ensure_prometheus() {
  export PATH="$PATH:$own/prometheus/usr/bin"
  has promtool && has prometheus && return
  say "Prometheus is missing: installing it"
  if has apt-get && has dpkg-deb; then
    unpack_prometheus || { as_root apt-get update >&2 && unpack_prometheus; } || true
  else
    install_package prometheus || true
  fi
  has promtool && has prometheus ||
    fail "Prometheus cannot be installed here. Install it, so that promtool and prometheus are on the PATH."
}

unpack_prometheus() {
  local folder
  folder=$(mktemp -d)
  (cd "$folder" && apt-get download --quiet prometheus >/dev/null 2>&1) &&
    dpkg-deb -x "$folder"/prometheus_*.deb "$own/prometheus"
  local code=$?
  rm -rf "$folder"
  return "$code"
}

ensure_programs() {
  ensure_nats_server
  [ -z "${BEAMLINE_PROGRAMS:-}" ] || return 0
  has cargo || fail "Rust is missing. Install it with rustup or your package manager, and try again."
  cargo build --workspace --bins --locked
  BEAMLINE_PROGRAMS=${CARGO_TARGET_DIR:-target}/debug
}

check_rules() {
  promtool check config docker/prometheus/prometheus.yml >&2
  promtool check rules docker/prometheus/recording.yml docker/prometheus/alerts.yml >&2
  promtool test rules docker/prometheus/tests/*.yml >&2
}

case ${1:-} in
  quick)
    ensure_python
    python3 scripts/observability/check.py --metrics "$metrics"
    ;;
  "")
    ensure_python
    ensure_prometheus
    ensure_programs
    python3 scripts/observability/check.py --metrics "$metrics"
    check_rules
    timeout 900 python3 scripts/observability/live.py "$BEAMLINE_PROGRAMS" --metrics "$metrics"
    ;;
  pictures)
    ensure_python
    ensure_prometheus
    ensure_programs
    python3 -c 'import matplotlib' 2>/dev/null || into_own matplotlib
    timeout 900 python3 scripts/observability/pictures.py "$BEAMLINE_PROGRAMS"
    ;;
  *) fail "usage: scripts/observability.sh [quick | pictures]" ;;
esac

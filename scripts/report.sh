#!/usr/bin/env bash
# What a run of the tests says besides passed and failed, from the JUnit file of cargo-nextest: which tests were slowest, and which
# passed only when they were repeated. A few of these are the machine; more of them are a fault that hides, and fail the run.
#   report.sh FILE         prints the report
#   report.sh --self-test  proves it on planted files
set -euo pipefail
export LC_ALL=C

most_flaky=2
slowest=20

# One line a test: its time, 1 if it is flaky, its name. What tests print is escaped in the file, so no line of it looks like this.
tests() {
  awk '
    function attribute(key, value) {
      if (!match($0, " " key "=\"[^\"]*\"")) return ""
      value = substr($0, RSTART, RLENGTH)
      sub(/^[^"]*"/, "", value)
      sub(/"$/, "", value)
      return value
    }
    function print_test() { if (name != "") print time, flaky, name }
    /^ *<testcase / { print_test(); name = attribute("classname") " " attribute("name"); time = attribute("time"); flaky = 0 }
    /^ *<flakyFailure / { flaky = 1 }
    END { print_test() }
  ' "$1"
}

report() {
  local file=$1 list flaky
  list=$(tests "$file")
  [ -n "$list" ] || { echo "error: $file names no tests" >&2; return 2; }
  echo "the $slowest slowest tests:"
  sort -rn <<<"$list" | awk -v most="$slowest" 'NR <= most { printf "%8.1f s  %s %s\n", $1, $3, $4 }'
  flaky=$(awk '$2 == 1 { print "  " $3 " " $4 }' <<<"$list")
  [ -n "$flaky" ] || return 0
  echo "flaky tests, which passed only when they were repeated:"
  echo "$flaky"
  [ "$(wc -l <<<"$flaky")" -gt "$most_flaky" ] || return 0
  echo "error: more than $most_flaky tests are flaky. A fault that comes and goes is a fault: look for it." >&2
  return 1
}

# A file as cargo-nextest writes it, with that many flaky tests among thirty.
planted() {
  local number
  echo '<testsuites><testsuite name="planted">'
  for number in {1..30}; do
    echo "        <testcase name=\"a::test_$number\" classname=\"crate\" timestamp=\"2026-01-01T00:00:00\" time=\"$number.5\">"
    echo '            <system-out>&lt;flakyFailure &lt;testcase name=&quot;no&quot;</system-out>'
    if [ "$number" -le "$1" ]; then
      echo '            <flakyFailure time="99.0" type="test failure">once</flakyFailure>'
      echo '            <flakyFailure time="99.0" type="test failure">twice</flakyFailure>'
    fi
    echo '        </testcase>'
  done
  echo '</testsuite></testsuites>'
}

self_test() {
  local file text count code expected
  file=$(mktemp)
  trap "rm -f '$file'" EXIT
  for count in 0 2 3; do
    planted "$count" >"$file"
    code=0 expected=0
    text=$(report "$file" 2>/dev/null) || code=$?
    [ "$count" -le "$most_flaky" ] || expected=1
    [ "$code" -eq "$expected" ] || wrong "$count flaky tests ended with $code"
    [ "$(grep -c '^  crate a::test_' <<<"$text")" -eq "$count" ] || wrong "the flaky tests were named as: $text"
    [ "$(grep -c ' s  crate a::test_' <<<"$text")" -eq "$slowest" ] || wrong "not $slowest slowest tests: $text"
    [ "$(sed -n 2p <<<"$text")" = "    30.5 s  crate a::test_30" ] || wrong "the slowest test is another: $text"
  done
  : >"$file"
  ! report "$file" >/dev/null 2>&1 || wrong "an empty file passed"
}

wrong() { echo "error: the report is wrong: $*" >&2; exit 1; }

if [ "${1:-}" = --self-test ]; then self_test; else report "$1"; fi

#!/usr/bin/env bash
# Dependencies that a manifest names and no source of its crate uses: they cost time in every build.
#   unused.sh             checks every manifest of the workspace, and the list that they share
#   unused.sh --self-test proves that the check finds what it looks for
# A dependency that is only there for its features says so: a comment "# features" in its line.
set -euo pipefail
cd "$(dirname "$0")/.."

# Prints "section name" for each dependency of a manifest: `name = ..`, `name.workspace = true`, or a table of its own.
dependencies() {
  awk '
    /^\[/ {
      section = $0
      gsub(/^\[+|\]+.*$/, "", section)
      table = ""
      if (match(section, /dependencies\.[A-Za-z0-9_-]+$/)) {
        table = substr(section, RSTART + 13)
        section = substr(section, 1, RSTART + 11)
        print section, table
      }
      next
    }
    section ~ /dependencies$/ && table == "" && /^[A-Za-z0-9_-]+ *[.=]/ && !/# features/ {
      name = $0
      sub(/[ .=].*/, "", name)
      print section, name
    }
  ' "$1"
}

# The sources in which a crate may use what a section names. Crates inside of a crate are looked at by themselves.
sources() {
  local directory=$1 section=$2 inner=() manifest
  for manifest in "$directory"/*/Cargo.toml "$directory"/*/*/Cargo.toml; do
    if [ -e "$manifest" ]; then inner+=(-not -path "$(dirname "$manifest")/*"); fi
  done
  local places=("$directory/src")
  case $section in
    *dev-dependencies) places+=("$directory"/tests "$directory"/chaos "$directory"/benches "$directory"/examples) ;;
    *build-dependencies) places=("$directory/build.rs") ;;
  esac
  for place in "${places[@]}"; do
    if [ -e "$place" ]; then find "$place" -name '*.rs' ${inner[@]+"${inner[@]}"}; fi
  done
}

# Prints what a manifest names in vain.
unused() {
  local manifest=$1 directory section name
  directory=$(dirname "$manifest")
  while read -r section name; do
    [ "$section" != workspace.dependencies ] || continue
    # Not grep -q, which would end the pipe too early.
    sources "$directory" "$section" | xargs -r sed 's#^ *//.*##' |
      grep -E "(^|[^A-Za-z0-9_])(${name//-/_}::|use ${name//-/_}( as|;))" >/dev/null || echo "$manifest: $name in [$section]"
  done < <(dependencies "$manifest")
}

# Prints what the manifest of the workspace names for all crates and none of them takes.
unshared() {
  local root=$1 section name
  shift
  while read -r section name; do
    [ "$section" = workspace.dependencies ] || continue
    grep -Eqs "^$name(\.workspace *=| *= *\{ *workspace)" "$@" || echo "$root: $name in [$section]"
  done < <(dependencies "$root")
}

# The manifest of the workspace comes first.
check() {
  local manifest
  for manifest in "$@"; do unused "$manifest"; done
  unshared "$1" "$@"
}

self_test() {
  local directory found expected
  directory=$(mktemp -d)
  trap "rm -rf '$directory'" EXIT
  mkdir -p "$directory/src" "$directory/tests" "$directory/inner/src"
  cat >"$directory/Cargo.toml" <<'END'
[workspace.dependencies]
used-by-inner = "1"
used-by-nobody = "1"
[dependencies]
in-code = "1"
in-comment = { version = "1" }
in-a-test = "1"
in-inner = "1"
only-features = "1" # features
[dependencies.in-a-table]
version = "1"
[dev-dependencies]
tested.workspace = true
untested.workspace = true
END
  printf '[dependencies]\nused-by-inner = { workspace = true }\n' >"$directory/inner/Cargo.toml"
  printf 'use in_code::Thing;\n// in_comment::Thing\n' >"$directory/src/lib.rs"
  printf 'in_inner::thing();\nuse used_by_inner as other;\n' >"$directory/inner/src/lib.rs"
  printf 'in_a_test::thing();\n#[tested::test]\n' >"$directory/tests/main.rs"
  found=$(check "$directory/Cargo.toml" "$directory/inner/Cargo.toml" | sed 's/.*: //; s/ in .*//' | tr '\n' ' ')
  expected="in-comment in-a-test in-inner in-a-table untested used-by-nobody "
  [ "$found" = "$expected" ] || { echo "error: the check found '$found' of the planted names" >&2; exit 1; }
}

if [ "${1:-}" = --self-test ]; then self_test; exit; fi
# `fuzz/` is no part of the workspace.
found=$(check Cargo.toml $(ls -d */Cargo.toml */*/Cargo.toml | grep -Ev '^(fuzz|target)/'))
if [ -n "$found" ]; then
  echo "error: dependencies that nobody uses:" >&2
  echo "$found" >&2
  exit 1
fi

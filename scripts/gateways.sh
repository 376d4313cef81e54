#!/usr/bin/env bash
# What the examples of docs/api.md need, in .beamline/gateways: libraries of Python, TypeScript and Go, and a `nats` command line.
# Quick when all of it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

pins=$PWD/tests/api_guide
own=$PWD/.beamline/gateways
debian_go=/usr/share/gocode/src/github.com/nats-io/nats.go
# For systems whose package manager has no sources of it.
nats_go_version=v1.22.1

# Whether the pins are those that were installed the last time.
is_installed() { cmp -s "$pins/$1" "$own/$1"; }

# Remembers them, after everything else went well.
installed() { cp "$pins/$1" "$own/$1"; }

# A program, from one of the packages that may have it.
ensure_program() {
  local program=$1 package
  shift
  for package in "$@"; do
    has "$program" && return
    say "$program is missing: installing $package"
    install_package "$package" || say "no package $package here"
  done
  has "$program" || fail "$program is missing, and the examples of docs/api.md need it. Install it, and try again."
}

ensure_python() {
  ensure_program python3 python3
  is_installed python/requirements.txt && return
  python3 -m pip --version >/dev/null 2>&1 || install_package python3-pip ||
    fail "pip is missing, and the examples of docs/api.md need it. Install it, and try again."
  rm -rf "$own/python" && mkdir -p "$own/python"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
    --target "$own/python" -r "$pins/python/requirements.txt" >&2
  installed python/requirements.txt
}

ensure_typescript() {
  ensure_program node nodejs node
  ensure_program npm npm
  cp "$pins/typescript/tsconfig.json" "$own/typescript/"
  is_installed typescript/package-lock.json && [ -d "$own/typescript/node_modules" ] && return
  cp "$pins/typescript/"package*.json "$own/typescript/"
  (cd "$own/typescript" && npm ci --no-audit --no-fund --loglevel=error >&2) || {
    rm -f "$own/typescript/package-lock.json"
    fail "npm cannot install what the examples of docs/api.md need."
  }
}

# Debian has the library as sources for GOPATH; elsewhere it is a module. go/env says which, for the test.
ensure_go() {
  ensure_program go golang-go golang go
  [ -d "$debian_go" ] || ! has apt-get || install_package golang-github-nats-io-go-nats-dev ||
    say "no package with the sources of nats.go here"
  {
    echo "GOCACHE=$own/go/cache"
    echo "GOTOOLCHAIN=local"
    if [ -d "$debian_go" ]; then
      echo "GO111MODULE=off"
      echo "GOPATH=${debian_go%/src/*}"
    else
      echo "GOFLAGS=-mod=mod"
      echo "GOPATH=$own/go/path"
    fi
  } >"$own/go/env"
  if [ ! -d "$debian_go" ] && [ ! -f "$own/go/go.mod" ]; then
    in_go go mod init examples
    in_go go get "github.com/nats-io/nats.go@$nats_go_version"
  fi
}

# A command with the variables of go/env.
in_go() {
  local variables=() line
  while IFS= read -r line; do variables+=("$line"); done <"$own/go/env"
  (cd "$own/go" && env "${variables[@]}" "$@" >&2)
}

# The real one is used where it is; no package registry has it.
ensure_nats_command() {
  local source=$own/go/nats/main.go
  [ -x "$own/bin/nats" ] && cmp -s "$pins/nats/main.go" "$source" && return
  mkdir -p "$own/go/nats"
  cp "$pins/nats/main.go" "$source"
  in_go go build -o "$own/bin/nats" nats/main.go || { rm -f "$source"; fail "the stand-in for the nats command line cannot be built."; }
}

mkdir -p "$own/python" "$own/typescript" "$own/go" "$own/bin"
ensure_python
ensure_typescript
ensure_go
ensure_nats_command
say "examples use $(python3 --version), Node $(node --version), $(go version | cut -d' ' -f3)"

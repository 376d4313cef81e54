#!/usr/bin/env bash
# Licences, bans, sources and advisories of the dependencies, as deny.toml has them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

ensure_cargo_tool cargo-deny 0.20.2
cargo deny --all-features --locked check bans licenses sources

# They come from a repository of their own, which closed networks do not reach.
advisories=https://github.com/rustsec/advisory-db
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --exit-code "$advisories" HEAD >/dev/null 2>&1; then
  cargo deny --all-features --locked check advisories
else
  say "advisories are NOT checked: $advisories cannot be reached from here. Run \`make deny\` where it can, before a release."
fi

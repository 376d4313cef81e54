#!/usr/bin/env bash
# A bill of materials (CycloneDX, JSON) of each program that is shipped, in target/sbom/.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

ensure_cargo_tool cargo-cyclonedx 0.5.9
cargo cyclonedx --format json --describe binaries --quiet
mkdir -p target/sbom
# It writes beside each manifest.
for found in *_bin.cdx.json */*_bin.cdx.json */*/*_bin.cdx.json; do
  [ ! -e "$found" ] || mv "$found" target/sbom/
done
ls target/sbom >&2

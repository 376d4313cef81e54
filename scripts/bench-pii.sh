#!/usr/bin/env bash
# Measures the detection of personal data: precision and recall beside Presidio's pattern recognizers on a corpus that it
# makes, and the time of texts of one megabyte. Needs Python 3.10 or newer; everything it writes lies under target/bench-pii.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

folder=target/bench-pii
mkdir -p "$folder"
if [ ! -x "$folder/venv/bin/python" ]; then
  python3 -m venv "$folder/venv"
fi
"$folder/venv/bin/pip" install --quiet --requirement benches/pii/requirements.txt

cargo build --release --quiet --locked -p beamline-reference-extensions --examples
say "making the corpus (texts ${TEXTS:-5400}, seed ${SEED:-7})"
"$folder/venv/bin/python" benches/pii/corpus.py "$folder/corpus.jsonl" --texts "${TEXTS:-5400}" --seed "${SEED:-7}"
say "measuring; Presidio takes a few minutes"
"$folder/venv/bin/python" benches/pii/measure.py "$folder/corpus.jsonl" target/release/examples/pii_spans "$@"
say ""
target/release/examples/pii_speed

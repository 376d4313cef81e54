#!/usr/bin/env bash
# Pins the images that docker/ builds on and starts: a tag may mean something else tomorrow, a digest may not.
#   scripts/pin-images.sh            asks the registries for the digests of today, and writes them behind the tags
#   scripts/pin-images.sh --check    fails, and names what has no digest: for a release
#   scripts/pin-images.sh --self-test
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# Images of others, as they stand in these files. What we build ourselves has no tag, and a stage of a build is no image.
images() {
  sed -n -E 's/^FROM ([^ ]+).*/\1/p; s/^ *image: *([^ ]+).*/\1/p' "$@" | grep -E '[:@]' | sort -u
}

digest_of() {
  docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'
}

pin() {
  local image name digest
  for image in $(images "$@"); do
    name=${image%@*}
    digest=$(digest_of "$name") || fail "$name cannot be looked up. Log in to its registry, and try again."
    case $digest in sha256:*) ;; *) fail "the registry names no digest for $name, but \"$digest\"" ;; esac
    sed -i "s|$image\$|$name@$digest|; s|$image |$name@$digest |" "$@"
    say "$name@$digest"
  done
}

check() {
  local open
  open=$(images "$@" | grep -v '@sha256:' || true)
  [ -z "$open" ] || fail "no digest: $(echo $open). Run scripts/pin-images.sh where the registries can be reached."
}

self_test() {
  local folder
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' RETURN
  printf 'FROM rust:1-bookworm AS build\nFROM build AS more\nFROM gcr.io/x/cc:nonroot\n' > "$folder/Dockerfile"
  printf '    image: nats:2\n    image: beamline-router\n' > "$folder/compose.yaml"
  docker() { echo "sha256:$(printf '%s' "$4" | sha256sum | cut -c1-64)"; }
  (check "$folder"/* 2>/dev/null) && fail "unpinned images pass"
  pin "$folder"/* 2>/dev/null
  check "$folder"/*
  pin "$folder"/* 2>/dev/null
  unset -f docker
  [ "$(grep -c '@sha256:' "$folder/Dockerfile" "$folder/compose.yaml" | tr '\n' ' ')" = \
    "$folder/Dockerfile:2 $folder/compose.yaml:1 " ] || fail "not all images are pinned, or some twice"
  grep -q 'AS build' "$folder/Dockerfile" || fail "the name of a stage is lost"
}

files=(docker/Dockerfile docker/extension.Dockerfile docker/compose.yaml)
case ${1:-} in
  --check) check "${files[@]}" ;;
  --self-test) self_test ;;
  "") has docker || fail "docker is missing: it asks the registries."; pin "${files[@]}" ;;
  *) fail "usage: scripts/pin-images.sh [--check | --self-test]" ;;
esac

#!/usr/bin/env bash
# Resolves the development environment first and then each image to the same versions, so that what is tested is what ships.
set -euo pipefail
cd "$(dirname "$0")/.."

resolve() {
  .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
    --no-annotate --no-header --no-emit-index-url --output-file "${1%.in}.txt" "$@"
}

resolve tests/bootstrap.in
resolve tests/requirements.in
# The servers that we are measured beside, each in an environment of its own.
for source in tests/bench/inference/*.in; do
  resolve "$source"
done
for source in operator/*.in inference/*.in; do
  resolve "$source" --constraint tests/requirements.txt
done

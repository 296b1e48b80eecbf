#!/usr/bin/env bash
# Runs make targets one after the other, stops at the first that fails, and says how long each took.
set -euo pipefail

report=()
trap 'printf "\n%s\n" "Parts:"; printf "  %s\n" "${report[@]}"' EXIT
for target in "$@"; do
  started=$SECONDS
  printf '\n== make %s\n' "$target"
  if ! make "$target"; then
    report+=("$(printf '%-17s FAILED after %4d s' "$target" $((SECONDS - started)))")
    exit 1
  fi
  report+=("$(printf '%-17s passed in %4d s' "$target" $((SECONDS - started)))")
done

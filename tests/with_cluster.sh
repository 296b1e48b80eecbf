#!/usr/bin/env bash
# Runs a command with the local cluster up, and takes the cluster down afterwards unless it was up before.
set -euo pipefail

local_cluster() { PYTHONPATH=deploy/local python3 -m iris_local "$@"; }

if ! local_cluster status >/dev/null 2>&1; then
  trap 'local_cluster down' EXIT
fi
local_cluster up --images
eval "$(local_cluster kubeconfig)"
"$@"

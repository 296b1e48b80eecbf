#!/usr/bin/env bash
# The end-to-end tests on the local cluster. A cluster that was not up before is taken down afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."

local_cluster() { PYTHONPATH=deploy/local python3 -m iris_local "$@"; }

if ! local_cluster status >/dev/null 2>&1; then
  trap 'local_cluster down' EXIT
fi
PYTHONPATH=deploy/demo .venv/bin/python -c 'from iris_demo import setup; setup.prepare()'
.venv/bin/python -m pytest tests/e2e "$@"

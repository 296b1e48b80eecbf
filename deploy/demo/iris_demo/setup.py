"""Brings up what the demo runs on: the local cluster, its images, the operator and what is beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from iris_demo.kube import local_kubeconfig

DEPLOY = Path(__file__).parents[2]

STAGES = (
    ("the cluster", ("iris_local", "up")),
    ("the images", ("iris_local", "images")),
    ("the operator and what runs beside it", ("iris_install", "deploy", "--overlay", "local")),
)


class SetupError(Exception):
    """A stage failed; its own output, above, says why."""


def prepare() -> None:
    """Run every stage; each does only what is missing. Raises SetupError at the first that fails."""
    environment = os.environ | {
        "PYTHONPATH": f"{DEPLOY / 'local'}:{DEPLOY / 'install'}",
        # Never the cluster that the caller's own kubectl points at.
        "KUBECONFIG": str(local_kubeconfig()),
    }
    for what, command in STAGES:
        print(f"\n== {what}", flush=True)
        ended = subprocess.run([sys.executable, "-m", *command], env=environment, cwd=DEPLOY.parent, check=False)
        if ended.returncode != 0:
            raise SetupError(f"{what}: `{' '.join(command)}` ended with exit code {ended.returncode}")

"""Brings up what the demo runs on: the local cluster, its images, the operator and what is beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from iris_demo.kube import local_kubeconfig

DEPLOY = Path(__file__).parents[2]

CLUSTER = ("iris_local", "up")
INSTALL = ("iris_install", "deploy", "--overlay", "local")


class SetupError(Exception):
    """A stage failed; its own output, above, says why."""


def prepare(*, project_images: bool = True) -> None:
    """Bring everything up; each stage does only what is missing.

    Args:
        project_images: whether the cluster holds this project's images without a registry.

    Raises:
        SetupError: a stage failed.
    """
    _run("the cluster and its images", (*CLUSTER, "--images") if project_images else CLUSTER)
    install()


def install() -> None:
    """Install the operator and what runs beside it into the local cluster, and wait until it runs.

    Raises:
        SetupError: it could not be installed.
    """
    _run("the operator and what runs beside it", INSTALL)


def _run(what: str, command: tuple[str, ...]) -> None:
    environment = os.environ | {
        "PYTHONPATH": f"{DEPLOY / 'local'}:{DEPLOY / 'install'}",
        # Never the cluster that the caller's own kubectl points at.
        "KUBECONFIG": str(local_kubeconfig()),
    }
    print(f"\n== {what}", flush=True)
    ended = subprocess.run([sys.executable, "-m", *command], env=environment, cwd=DEPLOY.parent, check=False)
    if ended.returncode != 0:
        raise SetupError(f"{what}: `{' '.join(command)}` ended with exit code {ended.returncode}")

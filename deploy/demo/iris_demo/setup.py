"""Brings up what the demo runs on: the local cluster, its images, the operator and its dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from iris_demo.kubeconfig import local_kubeconfig

DEPLOY = Path(__file__).parents[2]

CLUSTER_COMMAND = ("iris_local", "up")
INSTALL_COMMAND = ("iris_install", "deploy", "--overlay", "local")


class SetupError(Exception):
    """A stage failed; its own output above says why."""


def prepare(*, project_images: bool = True) -> None:
    """Bring everything up; each stage does only what is missing.

    Args:
        project_images: whether to load this project's images into the cluster directly, without a registry.

    Raises:
        SetupError: a stage failed.
    """
    _run("the cluster and its images", (*CLUSTER_COMMAND, "--images") if project_images else CLUSTER_COMMAND)
    install()


def install() -> None:
    """Install the operator and its dependencies into the local cluster, and wait until they run.

    Raises:
        SetupError: it could not be installed.
    """
    _run("the operator and its dependencies", INSTALL_COMMAND)


def _run(stage: str, command: tuple[str, ...]) -> None:
    environment = os.environ | {
        "PYTHONPATH": f"{DEPLOY / 'local'}:{DEPLOY / 'install'}",
        # Never the cluster that the caller's own kubectl points at.
        "KUBECONFIG": str(local_kubeconfig()),
    }
    print(f"\n== {stage}", flush=True)
    ended = subprocess.run([sys.executable, "-m", *command], env=environment, cwd=DEPLOY.parent, check=False)
    if ended.returncode != 0:
        raise SetupError(f"{stage}: `{' '.join(command)}` ended with exit code {ended.returncode}")

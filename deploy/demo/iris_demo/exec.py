"""Commands in the containers of the local cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

from iris_demo.kube import local_kubeconfig


class CommandError(Exception):
    """A command in a container failed; the message has what it said."""


def kubectl() -> Path:
    """The local cluster's own kubectl."""
    return local_kubeconfig().parents[1] / "bin" / "kubectl"


async def run_inside(kubeconfig: Path, namespace: str, target: str, container: str, *command: str) -> str:
    """Run a command in a container of ``target``, a pod or `kind/name`; what it printed. Raises CommandError."""
    process = await asyncio.create_subprocess_exec(
        kubectl(),
        *(f"--kubeconfig={kubeconfig}", f"--namespace={namespace}", "exec", target, f"--container={container}", "--"),
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, said = await process.communicate()
    if process.returncode != 0:
        raise CommandError(f"`{command[0]}` in {target} ended with exit code {process.returncode}: {said.decode()}")
    return printed.decode()

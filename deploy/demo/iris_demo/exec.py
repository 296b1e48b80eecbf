"""Runs commands in containers of the local cluster, with `kubectl exec`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from iris_demo.kubeconfig import local_kubeconfig


class CommandError(Exception):
    """A command in a container failed; the message includes its standard error."""


def kubectl() -> Path:
    """The local cluster's own kubectl."""
    return local_kubeconfig().parents[1] / "bin" / "kubectl"


async def exec_in_container(kubeconfig: Path, namespace: str, target: str, container: str, *command: str) -> str:
    """Run a command in a container of ``target``, a pod or `kind/name`; its output. Raises CommandError."""
    process = await asyncio.create_subprocess_exec(
        kubectl(),
        *(f"--kubeconfig={kubeconfig}", f"--namespace={namespace}", "exec", target, f"--container={container}", "--"),
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    if process.returncode != 0:
        raise CommandError(f"`{command[0]}` in {target} ended with exit code {process.returncode}: {stderr.decode()}")
    return stdout.decode()

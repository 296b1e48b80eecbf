"""Creates the demo's API key with the service's own command, in a ready pod."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from iris_demo.exec import CommandError, exec_in_container
from iris_demo.kube import KubeClient, Object
from iris_demo.load import HIGHEST_RATE
from iris_demo.resources import PODS

CLIENT_NAME = "demo"
CONTAINER = "inference"
RELEASE_LABEL = "iris.mlrelease.dev/release"
POD_SECONDS = 30.0
COMMAND = (
    *("iris-inference", "keys", "create", "--client", CLIENT_NAME, "--create-client", "--scope", "predict"),
    *("--scope", "feedback", "--rate", str(HIGHEST_RATE), "--burst", str(2 * HIGHEST_RATE)),
    # Each run creates a key of its own, and nothing deletes it.
    *("--expires", "1d", "--quiet"),
)


class KeyCreationError(Exception):
    """No key could be created; the message includes the command's error."""


async def create_key(kube: KubeClient, kubeconfig: Path, namespace: str, release: str) -> str:
    """Create a key in one of the release's ready pods. Raises KeyCreationError, and TimeoutError without such a pod."""
    pod = await _wait_for_ready_pod(kube, namespace, release)
    try:
        key = await exec_in_container(kubeconfig, namespace, pod, CONTAINER, *COMMAND)
    except CommandError as error:
        raise KeyCreationError(f"no key could be created: {error}") from None
    return key.strip()


async def _wait_for_ready_pod(kube: KubeClient, namespace: str, release: str) -> str:
    pods = kube.watch(PODS, namespace, labelSelector=f"{RELEASE_LABEL}={release}")
    async with asyncio.timeout(POD_SECONDS), aclosing(pods):
        async for change in pods:
            if change.type != "DELETED" and _is_ready(change.object):
                name: str = change.object["metadata"]["name"]
                return name
    raise AssertionError("a watch never ends by itself")


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    good = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return good and "deletionTimestamp" not in pod["metadata"]

"""The API key of the demo: made by the service's own command, in a pod that serves."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from iris_demo.inside import CommandError, run_inside
from iris_demo.kube import PODS, Kube, Object
from iris_demo.load import HIGHEST_RATE

CLIENT = "demo"
CONTAINER = "inference"
RELEASE_LABEL = "iris.mlrelease.dev/release"
POD_SECONDS = 30.0
COMMAND = (
    *("iris-inference", "keys", "create", "--client", CLIENT, "--create-client", "--scope", "predict"),
    *("--scope", "feedback", "--rate", str(HIGHEST_RATE), "--burst", str(2 * HIGHEST_RATE)),
    # Each run makes one of its own, and nobody would tidy up behind it.
    *("--expires", "1d", "--quiet"),
)


class NoKeyError(Exception):
    """No key could be made; the message has what the command said."""


async def new_key(kube: Kube, kubeconfig: Path, namespace: str, release: str) -> str:
    """Make a key in one of the release's ready pods. Raises NoKeyError, and TimeoutError without such a pod."""
    pod = await _ready_pod(kube, namespace, release)
    try:
        key = await run_inside(kubeconfig, namespace, pod, CONTAINER, *COMMAND)
    except CommandError as error:
        raise NoKeyError(f"no key could be made: {error}") from None
    return key.strip()


async def _ready_pod(kube: Kube, namespace: str, release: str) -> str:
    pods = kube.watch(PODS, namespace, labelSelector=f"{RELEASE_LABEL}={release}")
    async with asyncio.timeout(POD_SECONDS), aclosing(pods):
        async for change in pods:
            if change.type != "DELETED" and _ready(change.object):
                name: str = change.object["metadata"]["name"]
                return name
    raise AssertionError("a watch goes on until its reader stops")


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    good = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return good and "deletionTimestamp" not in pod["metadata"]

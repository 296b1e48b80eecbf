"""The actions of a scenario."""

from __future__ import annotations

import os
import signal
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from iris_demo.cost import OPERATOR_LABELS, OPERATOR_NAMESPACE
from iris_demo.kube import ApiError, Object
from iris_demo.resources import (
    INGRESSES,
    LEASES,
    PODS,
    RELEASES,
    SERVICES,
)
from support.e2e.invariants import ARM_LABEL
from support.e2e.scenario import NAMESPACE, Scenario


class When:
    """The actions of people and of the environment."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    async def apply(self, version: str, image_version: str = "") -> None:
        """Apply another version of the release."""
        self._scenario.applied_at = time.time()
        await self._scenario.kube.apply(RELEASES, self._scenario.manifest(version, image_version))

    async def pause(self, *, paused: bool = True) -> None:
        """Set or clear ``spec.paused`` as ``kubectl patch`` does."""
        await self._scenario.kube.merge_patch(RELEASES, NAMESPACE, self._scenario.name, {"spec": {"paused": paused}})

    async def resume(self) -> None:
        """Clear ``spec.paused``."""
        await self.pause(paused=False)

    async def delete(self) -> None:
        """Delete the release without waiting until it is gone."""
        await self._scenario.kube.delete(RELEASES, NAMESPACE, self._scenario.name)

    async def annotate_ingress(self, annotations: dict[str, str]) -> None:
        """Write to the primary Ingress as another tool does."""
        await self._scenario.kube.merge_patch(
            INGRESSES, NAMESPACE, self._scenario.name, {"metadata": {"annotations": annotations}}
        )

    async def raise_autoscaler_minimum(self, pods: int) -> None:
        """Edit the release so that the autoscaler has to scale stable up."""
        change = {"spec": {"serving": {"autoscaling": {"minReplicas": pods}}}}
        await self._scenario.kube.merge_patch(RELEASES, NAMESPACE, self._scenario.name, change)

    async def evict(self, pod: str) -> bool:
        """Evict a pod, as a drain does; False when its disruption budget does not allow it."""
        try:
            await self._scenario.kube.evict(NAMESPACE, pod)
        except ApiError as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            return False
        return True

    async def kill_the_operator(self) -> None:
        """SIGKILL the processes of the one that leads, so that it cannot hand over."""
        lease = await self._scenario.kube.get(LEASES, OPERATOR_NAMESPACE, "iris-operator")
        assert lease is not None
        holder = lease["spec"]["holderIdentity"]
        pods = await self._scenario.kube.list(PODS, OPERATOR_NAMESPACE, labelSelector=OPERATOR_LABELS)
        (leader,) = [pod for pod in pods if holder == f"{pod['metadata']['name']}_{pod['metadata']['uid']}"]
        _kill_container(leader)

    async def kill_the_canary(self) -> None:
        """SIGKILL the processes of every canary container."""
        for pod in await self._pods_behind_the_canary_service():
            if ARM_LABEL not in pod["metadata"]["labels"]:
                _kill_container(pod)

    async def kill_the_control_group(self) -> None:
        """SIGKILL the processes of every container of the control group."""
        for pod in await self._pods_behind_the_canary_service():
            if ARM_LABEL in pod["metadata"]["labels"]:
                _kill_container(pod)

    async def _pods_behind_the_canary_service(self) -> list[Object]:
        """Those of the canary and of the control group."""
        service = await self._scenario.kube.get(SERVICES, NAMESPACE, f"{self._scenario.name}-canary")
        assert service is not None
        selector = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
        return await self._scenario.kube.list(PODS, NAMESPACE, labelSelector=selector)


def _kill_container(pod: dict[str, Any]) -> None:
    """SIGKILL every process of the pod's containers, found by their container id in the cgroup's path."""
    ids = [status["containerID"].rpartition("/")[2] for status in pod["status"]["containerStatuses"]]
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            cgroup = (entry / "cgroup").read_text()
        except OSError:
            continue  # it ended meanwhile
        if any(container in cgroup for container in ids):
            os.kill(int(entry.name), signal.SIGKILL)
            killed += 1
    assert killed, f"no process of {pod['metadata']['name']} runs on this machine"

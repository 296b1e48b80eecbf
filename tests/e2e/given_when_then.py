"""The words in which the scenarios are told."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from e2e.releases import ROLLBACK_SECONDS
from e2e.scenario import NAMESPACE, Scenario, all_gone
from iris_demo import counts
from iris_demo.access import RELEASE_LABEL
from iris_demo.cost import OPERATOR_LABELS, OPERATOR_NAMESPACE
from iris_demo.inside import kubectl
from iris_demo.kube import (
    AUTOSCALERS,
    BUDGETS,
    DEPLOYMENTS,
    INGRESSES,
    PODS,
    RELEASES,
    SERVICES,
    ApiError,
    Object,
)
from iris_demo.observations import Release, canary_weight
from iris_demo.scenario import SILENT
from iris_demo.traffic import Traffic

DEPLOYED_SECONDS = 90.0
# No promise, but patience: on a busy machine evidence takes longer. It ends before the traffic does.
ROLLOUT_SECONDS = 360.0
# How much later than it was stored a change may reach a watch.
WATCH_DELAY_SECONDS = 0.5
VERSION_LABEL = "iris.mlrelease.dev/version"


class Given:
    """What there is before anything happens."""

    def __init__(self, scenario: Scenario) -> None:
        self._s = scenario

    def pods(self, **serving: Any) -> None:
        """How many pods there are to be and who scales them, in the words of the release's ``serving`` block."""
        self._s.serving = serving

    def the_silent_act(self) -> None:
        """The releases are those of the demo's second act, and the traffic is as much as the demo would send."""
        self._s.act = SILENT

    def a_step_of_copies(self, percent: int) -> None:
        """The canary is to get copies of so many requests before it gets the first one."""
        self._s.copies = percent

    async def a_stable_release(self, version: str) -> None:
        """A first version that serves everything."""
        await self._s.kube.apply(RELEASES, self._s.manifest(version))
        await self._s.watcher.until(
            lambda seen: seen.release.stable == version and seen.release.phase == "Stable", DEPLOYED_SECONDS
        )

    async def traffic(self, labels: float = 0.0, flowers: int = 0) -> None:
        """Requests at a constant rate through the Ingress until the end of the scenario, a share of them labelled.

        They ask for so many ``flowers`` again and again; 0: for another one each.
        """
        self._s.labels, self._s.flowers = labels, flowers
        await self._s.start_traffic()

    async def a_canary(self, version: str, weight: int) -> None:
        """A rollout that has come as far as ``weight``."""
        await When(self._s).apply(version)
        await Then(self._s).weight_becomes(weight)


class When:
    """What somebody does."""

    def __init__(self, scenario: Scenario) -> None:
        self._s = scenario

    async def apply(self, version: str, image_version: str = "") -> None:
        """Apply another version of the release."""
        self._s.applied = time.time()
        await self._s.kube.apply(RELEASES, self._s.manifest(version, image_version))

    async def pause(self, *, paused: bool = True) -> None:
        """Set or clear ``spec.paused`` as ``kubectl patch`` does."""
        await self._s.kube.merge(RELEASES, NAMESPACE, self._s.name, {"spec": {"paused": paused}})

    async def resume(self) -> None:
        """Clear ``spec.paused``."""
        await self.pause(paused=False)

    async def delete(self) -> None:
        """Delete the release without waiting for the end of it."""
        await self._s.kube.delete(RELEASES, NAMESPACE, self._s.name)

    async def annotate_ingress(self, annotations: dict[str, str]) -> None:
        """Write to the primary Ingress as another tool does."""
        await self._s.kube.merge(INGRESSES, NAMESPACE, self._s.name, {"metadata": {"annotations": annotations}})

    async def raise_the_autoscaler_s_floor(self, pods: int) -> None:
        """Edit the release so that the autoscaler has to scale stable up."""
        change = {"spec": {"serving": {"autoscaling": {"minReplicas": pods}}}}
        await self._s.kube.merge(RELEASES, NAMESPACE, self._s.name, change)

    async def evict(self, pod: str) -> bool:
        """Ask for a pod to leave, as a drain does; False when its budget refuses."""
        try:
            await self._s.kube.evict(NAMESPACE, pod)
        except ApiError as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            return False
        return True

    async def kill_the_operator(self) -> None:
        """SIGKILL its container's processes, so that it can neither finish nor say goodbye."""
        (pod,) = await self._s.kube.list(PODS, OPERATOR_NAMESPACE, labelSelector=OPERATOR_LABELS)
        _kill_container(pod)

    async def kill_the_canary(self) -> None:
        """SIGKILL the processes of every canary container."""
        for pod in await self._pods("canary"):
            _kill_container(pod)

    async def _pods(self, backend: str) -> list[Object]:
        service = await self._s.kube.get(SERVICES, NAMESPACE, f"{self._s.name}-{backend}")
        assert service is not None
        selector = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
        return await self._s.kube.list(PODS, NAMESPACE, labelSelector=selector)


class Then:
    """What has to be true, now or soon."""

    def __init__(self, scenario: Scenario) -> None:
        self._s = scenario

    async def becomes(self, holds: Callable[[Release], bool], seconds: float = ROLLOUT_SECONDS) -> Release:
        """Wait for a status, seen by the operator since the last apply, for which ``holds`` is true."""
        found = await self._s.watcher.until(
            lambda seen: seen.at >= self._s.applied and seen.release.current and holds(seen.release),
            seconds,
        )
        return found.release

    async def phase_becomes(self, phase: str) -> Release:
        """Wait for the phase."""
        return await self.becomes(lambda release: release.phase == phase)

    async def weight_becomes(self, weight: int) -> Release:
        """Wait until the status confirms the weight."""
        return await self.becomes(lambda release: release.weight == weight)

    async def is_promoted(self, version: str) -> Release:
        """Wait until the version serves everything."""
        return await self.becomes(lambda release: release.stable == version and release.promoted == "True")

    async def is_rolled_back(self, version: str, stable: str, reason: str) -> Release:
        """Wait for the rollback of ``version`` to ``stable`` and look at the reason that it gives."""
        release = await self.becomes(
            lambda release: release.phase == "RolledBack" and any(p.version == version for p in release.history)
        )
        assert release.stable == stable
        assert (release.promoted, release.promoted_reason) == ("False", "RolledBack")
        newest = release.history[0]
        assert (newest.version, newest.outcome) == (version, "RolledBack")
        assert newest.reason.startswith(reason), newest.reason
        return release

    @property
    def resource(self) -> str:
        """The release as kubectl is told of it."""
        return f"imr/{self._s.name}"

    def weights(self) -> list[int]:
        """The weights that the route changed to since the last apply."""
        return [change.weight for change in self._s.weights()]

    def weights_were(self, *weights: int) -> None:
        """The route had exactly these weights since the last apply, each once and in this order."""
        assert self.weights() == list(weights)

    def traffic_left_in_time(self) -> None:
        """Weight 0 followed the first word against the canary within one interval and two seconds."""
        against = next(seen.at for seen in self._s.seen() if seen.release.current and seen.release.judged_bad)
        away = self._s.weights()[-1]
        assert away.weight == 0
        assert away.at - against <= ROLLBACK_SECONDS, f"{away.at - against:.1f} s"

    async def no_request_failed(self) -> None:
        """Stop the traffic: every request was answered, and with a 2xx."""
        await self.only_the_canary_failed(None)

    async def only_the_canary_failed(self, version: str | None) -> None:
        """Stop the traffic: whatever failed was answered by the bad canary itself."""
        running = await self._s.traffic_ended()
        assert running.samples, "no request was sent, so none could fail"
        unexplained = counts.unexplained_failures(running.samples, version)
        listed = "\n".join(self._s.describe(sample) for sample in unexplained[:10])
        assert not unexplained, f"{len(unexplained)} of {len(running.samples)} failed:\n{listed}"

    def labels_said_that_fewer_were_right(self, version: str, than: str) -> None:
        """Of the labels that were sent back, the version had fewer on its side."""
        labels = counts.labels_by_version(self._traffic().labels)
        worse, better = (
            labels[each].correct / (labels[each].correct + labels[each].incorrect) for each in (version, than)
        )
        assert worse < better - 0.03, labels

    async def answered(self, requests: int) -> None:
        """Wait until so many further requests have ended."""
        running = self._traffic()
        before = len(running.samples)
        await running.until(lambda samples: len(samples) >= before + requests, ROLLOUT_SECONDS)

    async def were_served_by(self, *versions: str) -> None:
        """Stop the traffic: each of the versions has answered some of it."""
        running = await self._s.traffic_ended()
        served = counts.totals(running.samples).by_version
        assert set(versions) <= set(served), served

    async def no_request_failed_before_the_release_was_gone(self) -> None:
        """Stop the traffic: what was answered while the release existed was answered with a 2xx."""
        running = await self._s.traffic_ended()
        gone = next(e.at for e in self._s.recorder.entries if e.kind == RELEASES.plural and e.object is None)
        # The garbage collector takes stable right after the release: from then on there is nobody to answer.
        ended = [sample for sample in running.samples if sample.finished < gone - WATCH_DELAY_SECONDS]
        assert ended
        assert not [sample for sample in ended if not sample.ok]

    def the_weight_was_0_before_the_canary_went(self, version: str) -> None:
        """By the order in which the objects were stored."""
        weight, canary = 0, ""
        for entry in sorted(self._s.recorder.entries, key=lambda entry: entry.version):
            if entry.kind == INGRESSES.plural and entry.name == f"{self._s.name}-canary":
                weight = canary_weight(entry.object)
            if entry.kind == DEPLOYMENTS.plural:
                if entry.object is not None and entry.object["metadata"]["labels"][VERSION_LABEL] == version:
                    canary = entry.name
                if entry.name == canary and (entry.object is None or entry.object["spec"]["replicas"] == 0):
                    assert weight == 0, f"the canary went at weight {weight}"
                    return
        raise AssertionError(f"no Deployment of version {version} went")

    async def plain_http_is_redirected(self) -> None:
        """A request that is not encrypted is sent to the same place by HTTPS, and gets no answer of the model."""
        async with (
            aiohttp.ClientSession(headers={"Host": self._s.host}) as session,
            session.post("http://127.0.0.1:30080/v1/predict", json={}, allow_redirects=False) as answer,
        ):
            assert answer.status == HTTPStatus.PERMANENT_REDIRECT
            assert answer.headers["Location"] == f"https://{self._s.host}/v1/predict"
            assert "X-Model-Version" not in answer.headers

    async def pods_of(self, version: str, count: int) -> list[str]:
        """Wait until so many pods of the version are ready and the budget lets one of them go; their names."""
        deployment = await self._deployment(version)
        await self._s.kube.until(
            BUDGETS, NAMESPACE, deployment, lambda found: _counted(found, count), seconds=ROLLOUT_SECONDS
        )
        selector = f"{RELEASE_LABEL}={self._s.name},{VERSION_LABEL}={version}"
        pods = await self._s.kube.list(PODS, NAMESPACE, labelSelector=selector)
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    async def is_scaled_to(self, version: str, pods: int) -> None:
        """Wait until a version has so many ready pods by the word of somebody other than the operator."""
        found = await self._s.kube.until(
            DEPLOYMENTS,
            NAMESPACE,
            await self._deployment(version),
            lambda found: found is not None and found.get("status", {}).get("readyReplicas") == pods,
            seconds=ROLLOUT_SECONDS,
        )
        assert found is not None
        owners = {
            entry["manager"]
            for entry in found["metadata"]["managedFields"]
            if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
        }
        assert owners, found["metadata"]["managedFields"]
        assert "iris-operator" not in owners

    async def is_autoscaled(self, version: str) -> None:
        """Wait until the autoscaler scales the version, and may take pods away again."""
        target = await self._deployment(version)
        await self._s.kube.until(
            AUTOSCALERS,
            NAMESPACE,
            self._s.name,
            lambda found: (
                found is not None
                and found["spec"]["scaleTargetRef"]["name"] == target
                and found["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Max"
            ),
            seconds=ROLLOUT_SECONDS,
        )

    async def _deployment(self, version: str) -> str:
        selector = f"{RELEASE_LABEL}={self._s.name},{VERSION_LABEL}={version}"
        (found,) = await self._s.kube.list(DEPLOYMENTS, NAMESPACE, labelSelector=selector)
        return str(found["metadata"]["name"])

    async def nothing_is_left(self) -> None:
        """The release and all that it owned are gone."""
        kube = self._s.kube
        await kube.until(RELEASES, NAMESPACE, self._s.name, lambda found: found is None, ROLLOUT_SECONDS)
        for resource in (INGRESSES, SERVICES, DEPLOYMENTS, PODS):
            await all_gone(kube, resource, self._s.name)
            assert not await kube.list(resource, NAMESPACE, labelSelector=f"{RELEASE_LABEL}={self._s.name}")

    async def ingress_annotations_include(self, annotations: dict[str, str]) -> None:
        """The primary Ingress still has what another tool wrote."""
        ingress = await self._s.kube.get(INGRESSES, NAMESPACE, self._s.name)
        assert ingress is not None
        assert annotations.items() <= ingress["metadata"].get("annotations", {}).items()

    async def canary_answers_more(self, requests: int) -> None:
        """Wait until the canary, as it is now, has answered so many further requests."""
        running = self._traffic()
        canary = self._s.seen()[-1].release.canary
        before = len(counts.answered_by(running.samples, canary))
        await running.until(
            lambda samples: len(counts.answered_by(samples, canary)) >= before + requests, ROLLOUT_SECONDS
        )

    def _traffic(self) -> Traffic:
        if self._s.running is None:
            raise RuntimeError("this scenario has no traffic: begin with given.traffic()")
        return self._s.running

    async def kubectl(self, *arguments: str) -> str:
        """What a person at a terminal is told; an exit code other than 0 fails."""
        process = await asyncio.create_subprocess_exec(
            kubectl(),
            f"--kubeconfig={self._s.kubeconfig}",
            f"--namespace={NAMESPACE}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()


def _counted(budget: Object | None, pods: int) -> bool:
    """Has the budget's controller seen so many healthy pods, of which one may go?"""
    status = (budget or {}).get("status", {})
    return (status.get("currentHealthy"), status.get("expectedPods"), status.get("disruptionsAllowed")) == (
        pods,
        pods,
        1,
    )


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
            continue  # it ended while we looked
        if any(container in cgroup for container in ids):
            os.kill(int(entry.name), signal.SIGKILL)
            killed += 1
    assert killed, f"no process of {pod['metadata']['name']} runs on this machine"

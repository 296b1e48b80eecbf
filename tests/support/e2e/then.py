"""The assertions of a scenario, which wait where the state is reached later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import aiohttp

from iris_demo import counts
from iris_demo.access import RELEASE_LABEL
from iris_demo.exec import kubectl
from iris_demo.kube import Object
from iris_demo.observations import Release, canary_weight
from iris_demo.resources import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    INGRESSES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    RELEASES,
    SERVICES,
)
from iris_demo.traffic import Traffic
from support.e2e import control_group
from support.e2e.control_group import ROLE_LABEL, VERSION_LABEL
from support.e2e.invariants import ARM_LABEL, CONTROL
from support.e2e.releases import ROLLBACK_SECONDS
from support.e2e.scenario import NAMESPACE, Scenario, wait_until_deleted

# Not a promise but a generous limit: on a busy machine evidence takes longer. It ends before the traffic does.
ROLLOUT_SECONDS = 480.0
# How much later than it was stored a change may reach a watch.
WATCH_DELAY_SECONDS = 0.5


class Then:
    """Asserts what is true now, or waits until it is."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    async def becomes(self, condition: Callable[[Release], bool], seconds: float = ROLLOUT_SECONDS) -> Release:
        """Wait for a current status since the last apply for which ``condition`` holds."""
        found = await self._scenario.watcher.wait_for(
            lambda seen: seen.at >= self._scenario.applied_at and seen.release.is_current and condition(seen.release),
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
        """Wait until the version gets all of the traffic."""
        return await self.becomes(lambda release: release.stable == version and release.promoted == "True")

    async def is_rolled_back(self, version: str, stable: str, reason: str) -> Release:
        """Wait for the rollback of ``version`` to ``stable`` and check its reason."""
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
    def kubectl_resource(self) -> str:
        """The release as an argument of kubectl."""
        return f"imr/{self._scenario.name}"

    def weights(self) -> list[int]:
        """The weights that the route changed to since the last apply: of both arms, where there is a control group."""
        return [change.weight for change in self._scenario.weight_changes()]

    def weights_were(self, *weights: int) -> None:
        """The canary got the shares of exactly these steps since the last apply, each once and in this order.

        A 0 is where the route left nothing to it. That it never had more than its step's weight is an invariant.
        """
        assert self._scenario.steps_taken() == list(weights)

    def traffic_was_removed_in_time(self) -> None:
        """Weight 0 followed the first failing verdict within one interval and two seconds."""
        failed = next(
            seen.at
            for seen in self._scenario.release_observations()
            if seen.release.is_current and seen.release.judged_bad
        )
        last = self._scenario.weight_changes()[-1]
        assert last.weight == 0
        assert last.at - failed <= ROLLBACK_SECONDS, f"{last.at - failed:.1f} s"

    async def no_request_failed(self) -> None:
        """Stop the traffic: every request was answered, and with a 2xx."""
        await self.only_the_canary_failed(None)

    async def only_the_canary_failed(self, version: str | None) -> None:
        """Stop the traffic: whatever failed was answered by the bad canary itself."""
        running = await self._scenario.stop_traffic()
        assert running.samples, "no request was sent, so none could fail"
        unexplained = counts.unexplained_failures(running.samples, version)
        listed = "\n".join(self._scenario.describe(sample) for sample in unexplained[:10])
        assert not unexplained, f"{len(unexplained)} of {len(running.samples)} failed:\n{listed}"

    def accuracy_was_lower(self, version: str, than: str) -> None:
        """By the true labels that were sent back, the version was right less often."""
        labels = counts.labels_by_version(self._traffic().labels)
        worse, better = (
            labels[each].correct / (labels[each].correct + labels[each].incorrect) for each in (version, than)
        )
        assert worse < better - 0.03, labels

    async def answered(self, requests: int) -> None:
        """Wait until so many further requests have ended."""
        running = self._traffic()
        before = len(running.samples)
        await running.wait_for(lambda samples: len(samples) >= before + requests, ROLLOUT_SECONDS)

    async def were_served_by(self, *versions: str) -> None:
        """Stop the traffic: each of the versions has answered some requests."""
        running = await self._scenario.stop_traffic()
        served = counts.totals(running.samples).by_version
        assert set(versions) <= set(served), served

    async def no_request_failed_before_the_release_was_deleted(self) -> None:
        """Stop the traffic: every request that ended while the release existed got a 2xx."""
        running = await self._scenario.stop_traffic()
        gone = next(e.at for e in self._scenario.recorder.entries if e.kind == RELEASES.plural and e.object is None)
        # The garbage collector deletes stable right after the release: from then on no pod can answer.
        ended = [sample for sample in running.samples if sample.finished < gone - WATCH_DELAY_SECONDS]
        assert ended
        assert not [sample for sample in ended if not sample.ok]

    def the_weight_was_0_before_the_canary_was_removed(self, version: str) -> None:
        """Compares the order in which the objects were stored."""
        weight, canary = 0, ""
        for entry in sorted(self._scenario.recorder.entries, key=lambda entry: entry.version):
            if entry.kind == INGRESSES.plural and entry.name == f"{self._scenario.name}-canary":
                weight = canary_weight(entry.object)
            if entry.kind == DEPLOYMENTS.plural:
                if entry.object is not None and entry.object["metadata"]["labels"][VERSION_LABEL] == version:
                    canary = entry.name
                if entry.name == canary and (entry.object is None or entry.object["spec"]["replicas"] == 0):
                    assert weight == 0, f"the canary went at weight {weight}"
                    return
        raise AssertionError(f"no Deployment of version {version} went")

    async def plain_http_is_redirected(self) -> None:
        """An HTTP request is redirected to the same URL with HTTPS, and does not reach the model."""
        async with (
            aiohttp.ClientSession(headers={"Host": self._scenario.host}) as session,
            session.post("http://127.0.0.1:30080/v1/predict", json={}, allow_redirects=False) as answer,
        ):
            assert answer.status == HTTPStatus.PERMANENT_REDIRECT
            assert answer.headers["Location"] == f"https://{self._scenario.host}/v1/predict"
            assert "X-Model-Version" not in answer.headers

    async def pods_of(self, version: str, count: int) -> list[str]:
        """Wait until so many pods of the version are ready and the budget allows one disruption; their names."""
        deployment = await self._deployment(version)
        await self._scenario.kube.wait_for(
            POD_DISRUPTION_BUDGETS,
            NAMESPACE,
            deployment,
            lambda found: _budget_allows_one_disruption(found, count),
            seconds=ROLLOUT_SECONDS,
        )
        selector = self._selector(f"{VERSION_LABEL}={version}", f"!{ARM_LABEL}")
        pods = await self._scenario.kube.list(PODS, NAMESPACE, labelSelector=selector)
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    async def is_scaled_to(self, version: str, pods: int) -> None:
        """Wait until a version has so many ready pods, and check that the operator did not set the replicas."""
        found = await self._scenario.kube.wait_for(
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
        """Wait until the autoscaler targets the version and may scale it down."""
        target = await self._deployment(version)
        await self._scenario.kube.wait_for(
            HORIZONTAL_POD_AUTOSCALERS,
            NAMESPACE,
            self._scenario.name,
            lambda found: (
                found is not None
                and found["spec"]["scaleTargetRef"]["name"] == target
                and found["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Max"
            ),
            seconds=ROLLOUT_SECONDS,
        )

    async def _deployment(self, version: str) -> str:
        selector = self._selector(f"{VERSION_LABEL}={version}", f"{ROLE_LABEL}!={CONTROL}")
        (found,) = await self._scenario.kube.list(DEPLOYMENTS, NAMESPACE, labelSelector=selector)
        return str(found["metadata"]["name"])

    async def control_group_stands(self, version: str, pods: int) -> None:
        """Wait until so many pods of ``version`` are ready beside the canary, behind its Service and no other."""
        await self.becomes(lambda release: release.control_pods == pods)
        await control_group.wait_until_ready(self._scenario.kube, NAMESPACE, self._scenario.name, version, pods)

    async def no_control_group_stands(self) -> None:
        """Wait until its Deployment and its pods are gone, and the status names none."""
        await self.becomes(lambda release: release.control_pods == 0)
        await control_group.wait_until_gone(self._scenario.kube, NAMESPACE, self._scenario.name)

    def _selector(self, *requirements: str) -> str:
        return ",".join((f"{RELEASE_LABEL}={self._scenario.name}", *requirements))

    async def nothing_is_left(self) -> None:
        """The release and all that it owned are gone."""
        kube = self._scenario.kube
        await kube.wait_for(RELEASES, NAMESPACE, self._scenario.name, lambda found: found is None, ROLLOUT_SECONDS)
        for resource in (INGRESSES, SERVICES, DEPLOYMENTS, PODS):
            await wait_until_deleted(kube, resource, self._scenario.name)
            assert not await kube.list(resource, NAMESPACE, labelSelector=f"{RELEASE_LABEL}={self._scenario.name}")

    async def ingress_annotations_include(self, annotations: dict[str, str]) -> None:
        """The primary Ingress still has the annotations of another tool."""
        ingress = await self._scenario.kube.get(INGRESSES, NAMESPACE, self._scenario.name)
        assert ingress is not None
        assert annotations.items() <= ingress["metadata"].get("annotations", {}).items()

    async def canary_answers_more(self, requests: int) -> None:
        """Wait until the current canary has answered so many further requests."""
        running = self._traffic()
        canary = self._scenario.release_observations()[-1].release.canary
        before = len(counts.answered_by(running.samples, canary))
        await running.wait_for(
            lambda samples: len(counts.answered_by(samples, canary)) >= before + requests, ROLLOUT_SECONDS
        )

    def _traffic(self) -> Traffic:
        if self._scenario.traffic is None:
            raise RuntimeError("this scenario has no traffic: begin with given.traffic()")
        return self._scenario.traffic

    async def kubectl(self, *arguments: str) -> str:
        """The output of a kubectl command; fails for an exit code other than 0."""
        process = await asyncio.create_subprocess_exec(
            kubectl(),
            f"--kubeconfig={self._scenario.kubeconfig}",
            f"--namespace={NAMESPACE}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()


def _budget_allows_one_disruption(budget: Object | None, pods: int) -> bool:
    """Whether the budget has so many healthy pods and allows one disruption."""
    status = (budget or {}).get("status", {})
    return (status.get("currentHealthy"), status.get("expectedPods"), status.get("disruptionsAllowed")) == (
        pods,
        pods,
        1,
    )

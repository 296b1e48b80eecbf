"""Of two operators' pods the API server lets only the one write that holds the Lease, whatever the other believes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from iris_operator.adapters import kinds
from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.kubernetes.objects import ReleaseObjects
from iris_operator.adapters.kubernetes.releases import ReleaseStore
from iris_operator.adapters.routers.ingress import canary_ingress
from iris_operator.adapters.routers.registry import build_routers
from iris_operator.api import names
from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.batch_judge import BatchJudge
from iris_operator.engine.kinds import RELEASE, WATCHED_BY_ENGINE, WatchedKind
from iris_operator.engine.manifests import deployment, service, shadow_config
from iris_operator.engine.ports import Json, MetricsQuery, MetricsResult, MetricsUnavailable, NotLeader, OwnedObjects
from iris_operator.engine.reconcile import Ports, Reconciler, Result
from iris_operator.engine.release import Release, RevisionInputs, parse_release
from iris_operator.engine.scaling_manifests import autoscaler, disruption_budget
from support.operator.controllers import Kubectl, bring_up_pods, with_api
from support.operator.installation import Installation, OperatorPod
from support.operator.simulation import AUTOSCALED, manifest
from support.servers.kubernetes import KubeApiserver

QUICK = {"steps": [{"weight": 50}, {"weight": 100}], "interval": "1s", "warmUp": "0s"}


@pytest.fixture(scope="module")
def installation(kube_apiserver: KubeApiserver, kubectl: Kubectl) -> Installation:
    return Installation(kube_apiserver, kubectl)


@pytest.fixture(scope="module")
def leader(installation: Installation) -> OperatorPod:
    return installation.pod("operator-new")


@pytest.fixture(scope="module")
def late(installation: Installation) -> OperatorPod:
    """Was the leader, and still believes to be."""
    return installation.pod("operator-late")


def stored_release(installation: Installation, name: str) -> Release:
    body = manifest("1.0.0", serving=AUTOSCALED)
    body["metadata"] = {"name": name, "namespace": installation.namespace, "finalizers": [names.FINALIZER]}
    installation.kubectl.apply(body)
    return parse_release(installation.kubectl.get("imr", name))


def manifests_of_every_kind(release: Release) -> list[Json]:
    scaling = release.spec.serving.autoscaling
    assert scaling is not None
    inputs = RevisionInputs.of(release.spec)
    revision = inputs.ref.revision
    return [
        deployment(release, inputs, "stable", 1, None),
        service(release, names.stable_service(release.name), revision),
        shadow_config(release, None, 0, ""),
        canary_ingress(release, 50),
        autoscaler(release, scaling, revision, scale_down_allowed=False),
        disruption_budget(release, revision, None),
    ]


def kinds_with(verb: str) -> set[str]:
    return {kind.kind for kind in kinds.WATCHED if verb in kind.verbs}


async def refused(writing: Awaitable[object]) -> None:
    with pytest.raises(NotLeader, match=r"operator-late_.* is not the leader"):
        await writing


async def remove_finalizer(api: KubernetesApi, release: Release) -> None:
    path = f"/apis/{RELEASE.api_version}/namespaces/{release.namespace}/{RELEASE.plural}/{release.name}"
    await api._request(
        "PATCH", path, body={"metadata": {"finalizers": []}}, content_type="application/merge-patch+json"
    )


async def stored(api: KubernetesApi, release: Release) -> Json:
    body = await api.get(RELEASE.api_version, RELEASE.kind, release.namespace, release.name)
    assert body is not None
    return body


def test_every_kind_of_write_is_refused_to_the_one_and_allowed_to_the_other(
    installation: Installation, leader: OperatorPod, late: OperatorPod
) -> None:
    release = stored_release(installation, "kinds")
    manifests = manifests_of_every_kind(release)
    assert {each["kind"] for each in manifests} == kinds_with("patch")
    deletable = [each for each in manifests if each["kind"] in kinds_with("delete")]
    installation.give_lease(leader, late)

    async def create_nothing(api: KubernetesApi) -> None:
        for each in manifests:
            await refused(api.apply(each))

    async def create(api: KubernetesApi) -> None:
        for each in manifests:
            await api.apply(each)
        await ReleaseStore(api).write_status(await stored(api, release), {"phase": "Stable"})

    async def change_nothing(api: KubernetesApi) -> None:
        await refused(ReleaseStore(api).write_status(await stored(api, release), {"phase": "Degraded"}))
        await refused(remove_finalizer(api, release))
        for each in manifests:
            await refused(api.apply({**each, "metadata": {**each["metadata"], "annotations": {"changed": "true"}}}))
        for each in deletable:
            await refused(api.delete(each))

    async def remove(api: KubernetesApi) -> None:
        for each in deletable:
            await api.delete(each)
        await remove_finalizer(api, release)

    with_api(late.kubeconfig, create_nothing)
    with_api(leader.kubeconfig, create)
    with_api(late.kubeconfig, change_nothing)
    with_api(leader.kubeconfig, remove)


def test_a_standby_may_add_the_finalizer_which_any_operator_would_and_nothing_else(
    installation: Installation, leader: OperatorPod, late: OperatorPod
) -> None:
    stored_release(installation, "finalizers")
    installation.give_lease(leader, late)
    standby = Kubectl(late.kubeconfig, installation.namespace)

    def patch(metadata: Mapping[str, Any]) -> None:
        body = json.dumps({"metadata": metadata})
        standby.run("patch", "imr", "finalizers", "--type=merge", f"--patch={body}")

    patch({"finalizers": [names.FINALIZER, "example.com/another"]})
    for change in ({"finalizers": [names.FINALIZER]}, {"labels": {"a": "b"}}, {"annotations": {"a": "b"}}):
        with pytest.raises(AssertionError, match="is not the leader"):
            patch({"finalizers": [names.FINALIZER, "example.com/another"], **change})


def test_kubectl_is_asked_for_nothing_also_without_a_lease(
    installation: Installation, leader: OperatorPod, late: OperatorPod
) -> None:
    installation.give_lease(leader, late)
    release = stored_release(installation, "users")
    for each in manifests_of_every_kind(release):
        installation.kubectl.apply(dict(each))
    installation.kubectl.run("delete", "lease", "iris-operator")
    try:
        for each in manifests_of_every_kind(release):
            installation.kubectl.apply({**each, "metadata": {**each["metadata"], "annotations": {"by": "hand"}}})
        installation.kubectl.run("annotate", "imr", "users", "by=hand")
    finally:
        metadata = {"name": "iris-operator", "namespace": installation.namespace}
        installation.kubectl.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata})
    kinds_of_all = ",".join(kind.plural for kind in kinds.WATCHED)
    installation.kubectl.run("delete", kinds_of_all, f"--selector={names.LABEL_RELEASE}=users", "--wait=false")


def test_the_service_account_without_a_pod_is_refused(
    installation: Installation, kube_apiserver: KubeApiserver, leader: OperatorPod, late: OperatorPod
) -> None:
    installation.give_lease(leader, late)
    kubeconfig = kube_apiserver.kubeconfig_for(installation.namespace, "iris-operator")
    assert installation.refuses(OperatorPod("nobody", "", kubeconfig))


class SuspendedApi(KubernetesApi):
    """The operator is suspended right before its write number `suspended_at`, while another one takes over."""

    def __init__(self, api: KubernetesApi, suspended_at: int, take_over: Callable[[], None]) -> None:
        super().__init__(api._client, kinds.ALL)
        self._suspended_at = suspended_at
        self._take_over = take_over
        self.writes = 0
        self.tried = ""

    async def _request(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        if method != "GET" and "/events" not in path:
            self.writes += 1
            if self.writes == self._suspended_at:
                self.tried = f"{method} {'/'.join(path.split('/')[-2:])}"
                await asyncio.to_thread(self._take_over)
        return await super()._request(method, path, **options)


class Listed:
    """Implements `Lister` with lists as the administrator."""

    def __init__(self, server: KubeApiserver) -> None:
        self._server = server

    def owned_objects(self, namespace: str, release: str) -> OwnedObjects:
        def of(kind: WatchedKind) -> tuple[Json, ...]:
            root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"
            own = f"labelSelector={names.LABEL_RELEASE}%3D{release}"
            found = self._server.request("GET", f"{root}/namespaces/{namespace}/{kind.plural}?{own}")
            return tuple({**kind.type_meta, **item} for item in found["items"])

        return OwnedObjects(**{kind.index: of(kind) for kind in WATCHED_BY_ENGINE})


class NoMetrics:
    """Implements `Metrics` without any."""

    async def count(self, query: MetricsQuery) -> MetricsResult:
        raise MetricsUnavailable(f"none of {query.release}")


class Silent:
    """Implements `EventRecorder`."""

    async def record(self, release: Release, event: object) -> None:
        """Nothing."""


def reconciler(api: KubernetesApi, server: KubeApiserver) -> Reconciler:
    return Reconciler(
        Ports(
            store=ReleaseStore(api),
            objects=ReleaseObjects(api),
            lister=Listed(server),
            routers=build_routers(api),
            analyzer=Analyzer(NoMetrics(), BatchJudge(), 0.0),
            event_recorder=Silent(),
            clock=lambda: datetime.now(UTC),
        )
    )


def test_a_late_write_is_refused_at_every_write_of_every_pass(
    installation: Installation, leader: OperatorPod, late: OperatorPod
) -> None:
    """T9, for each write: suspended between deciding it and sending it, and continued when another one leads."""
    kubectl, server, tried = installation.kubectl, installation.server, set[str]()

    async def suspended_pass(api: KubernetesApi, at: int) -> None:
        suspended = SuspendedApi(api, at, lambda: installation.give_lease(leader, late))
        outcome = await reconciler(suspended, server).reconcile(installation.namespace, "passes")
        if suspended.tried:
            assert outcome.result is Result.CONFLICT, suspended.tried
            tried.add(suspended.tried)

    async def whole_pass(api: KubernetesApi) -> None:
        await reconciler(api, server).reconcile(installation.namespace, "passes")

    def roll_out(version: str, reached: Callable[[dict[str, Any]], bool]) -> None:
        body = manifest(version, serving={"replicas": 1}, rollout=QUICK)
        body["metadata"] = {"name": "passes", "namespace": installation.namespace}
        kubectl.apply(body)
        status: dict[str, Any] = {}
        for _ in range(15):
            for at in (1, 2, 3):
                installation.give_lease(late, leader)
                with_api(late.kubeconfig, partial(suspended_pass, at=at))
            installation.give_lease(leader, late)
            with_api(leader.kubeconfig, whole_pass)
            status = kubectl.get("imr", "passes").get("status", {})
            if reached(status):
                return
            bring_up_pods(kubectl)
        raise AssertionError(status)

    roll_out("1.0.0", lambda status: status["phase"] == "Stable")
    roll_out("2.0.0", lambda status: bool(status["rollout"].get("confirmedWeight")))
    resources = {each.split("/")[0] for each in tried}
    assert {"PATCH deployments", "PATCH services", "PATCH poddisruptionbudgets"} <= resources
    assert {"PATCH passes/status", "PATCH ingresses/passes", "PATCH ingresses/passes-canary"} <= tried

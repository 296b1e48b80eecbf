"""The demo's view of the API against a real kube-apiserver with the project's own resource."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from iris_demo import watch
from iris_demo.kube import ApiError, KubeClient, connect
from iris_demo.kubeconfig import LOCAL_CONTEXT, ForeignContextError, require_local_context
from iris_demo.observations import EventObserved, ReleaseObserved, RouteObserved
from iris_demo.resources import EVENTS, INGRESSES, RELEASES, SERVICES
from iris_demo.scenario import FILES, LOUD, DemoScenario
from support.servers.kubernetes import KubeApiserver

NAMESPACE = "demo"
SOON = 10.0


@pytest.fixture(scope="module")
def cluster(kube_apiserver: KubeApiserver) -> KubeApiserver:
    kube_apiserver.install_resource()
    kube_apiserver.create_namespace(NAMESPACE)
    return kube_apiserver


@pytest.fixture
async def kube(cluster: KubeApiserver) -> AsyncIterator[KubeClient]:
    async with connect(cluster.kubeconfig) as connected:
        yield connected


def release(version: str, act: DemoScenario = LOUD) -> dict[str, Any]:
    """The demo's file, moved into the namespace of these tests."""
    made = act.manifest(version)
    made["metadata"]["namespace"] = NAMESPACE
    return made


def service(name: str, port: int = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"ports": [{"port": port}]},
    }


async def test_another_cluster_is_rejected_before_any_request(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump({"current-context": "production", "contexts": []}))
    with pytest.raises(ForeignContextError, match="production"):
        require_local_context(path)
    with pytest.raises(ForeignContextError, match="cluster-up"):
        require_local_context(tmp_path / "missing")
    path.write_text(yaml.safe_dump({"current-context": LOCAL_CONTEXT}))
    require_local_context(path)


async def test_an_object_is_applied_changed_and_deleted(kube: KubeClient) -> None:
    await kube.apply(SERVICES, service("changing", 80))
    await kube.apply(SERVICES, service("changing", 81))
    await kube.merge_patch(SERVICES, NAMESPACE, "changing", {"metadata": {"annotations": {"other/tool": "here"}}})
    stored = await kube.get(SERVICES, NAMESPACE, "changing")
    assert stored is not None
    assert stored["spec"]["ports"][0]["port"] == 81
    assert stored["metadata"]["annotations"]["other/tool"] == "here"
    await kube.delete(SERVICES, NAMESPACE, "changing")
    assert await kube.get(SERVICES, NAMESPACE, "changing") is None
    await kube.delete(SERVICES, NAMESPACE, "changing")


async def test_an_error_has_the_servers_message(kube: KubeClient) -> None:
    with pytest.raises(ApiError, match=r"spec\.ports") as refused:
        await kube.create(SERVICES, service("bad") | {"spec": {"ports": [{"port": 0}]}})
    assert refused.value.status == 422


async def test_waiting_ends_when_the_condition_holds(kube: KubeClient) -> None:
    await kube.apply(SERVICES, service("awaited", 80))
    waiting = asyncio.create_task(
        kube.wait_for(
            SERVICES, NAMESPACE, "awaited", lambda s: s is not None and s["spec"]["ports"][0]["port"] == 90, SOON
        )
    )
    gone = asyncio.create_task(kube.wait_for(SERVICES, NAMESPACE, "awaited", lambda found: found is None, SOON))
    await kube.apply(SERVICES, service("awaited", 90))
    assert (await waiting or {})["spec"]["ports"][0]["port"] == 90
    await kube.delete(SERVICES, NAMESPACE, "awaited")
    assert await gone is None


async def test_waiting_has_a_timeout(kube: KubeClient) -> None:
    with pytest.raises(TimeoutError):
        await kube.wait_for(SERVICES, NAMESPACE, "never", lambda found: found is not None, 0.3)


async def test_a_watch_yields_existing_objects_and_changes(kube: KubeClient) -> None:
    await kube.apply(SERVICES, service("watched"))
    changes: asyncio.Queue[str] = asyncio.Queue()

    async def follow() -> None:
        async for change in kube.watch(SERVICES, NAMESPACE, fieldSelector="metadata.name=watched"):
            changes.put_nowait(change.type)

    task = asyncio.create_task(follow())
    async with asyncio.timeout(SOON):
        assert await changes.get() == "ADDED"
        await kube.apply(SERVICES, service("watched", 81))
        assert await changes.get() == "MODIFIED"
        await kube.delete(SERVICES, NAMESPACE, "watched")
        assert await changes.get() == "DELETED"
    task.cancel()


@pytest.mark.parametrize(("act", "version"), FILES)
async def test_the_files_of_the_demo_are_accepted(kube: KubeClient, act: DemoScenario, version: str) -> None:
    assert await kube.create(RELEASES, release(version, act), dry_run=True)


async def test_the_watcher_observes_the_release_its_route_and_its_events(kube: KubeClient) -> None:
    async with watch.watch_release(kube, NAMESPACE, "iris") as watcher:
        observed = asyncio.Event()
        watcher.listen(lambda seen: observed.set() if isinstance(seen, EventObserved) else None)
        released = await kube.apply(RELEASES, release("1.0.0"))
        await watcher.wait_for(lambda seen: seen.release.spec_version == "1.0.0", SOON)
        route = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": "iris-canary",
                "namespace": NAMESPACE,
                "annotations": {
                    "nginx.ingress.kubernetes.io/canary": "true",
                    "nginx.ingress.kubernetes.io/canary-weight": "25",
                },
            },
            "spec": {"defaultBackend": {"service": {"name": "iris-canary", "port": {"number": 80}}}},
        }
        await kube.apply(INGRESSES, route)
        await kube.delete(INGRESSES, NAMESPACE, "iris-canary")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "iris.1", "namespace": NAMESPACE},
            "involvedObject": {
                "kind": "IrisModelRelease",
                "name": "iris",
                "namespace": NAMESPACE,
                "uid": released["metadata"]["uid"],
            },
            "type": "Normal",
            "reason": "Deployed",
            "message": "version 1.0.0 serves",
            "eventTime": "2999-01-01T00:00:00.000000Z",
            "action": "Deploy",
            "reportingComponent": "test",
            "reportingInstance": "test",
        }
        await kube.create(EVENTS, event)
        await kube.delete(RELEASES, NAMESPACE, "iris")
        await kube.apply(RELEASES, release("2.0.0"))
        await watcher.wait_for(lambda seen: seen.release.spec_version == "2.0.0", SOON)
        async with asyncio.timeout(SOON):
            await observed.wait()
    routes = [seen.weight for seen in watcher.observations if isinstance(seen, RouteObserved)]
    releases = [seen.release.spec_version for seen in watcher.observations if isinstance(seen, ReleaseObserved)]
    assert routes == [25, 0]
    assert releases == ["1.0.0", "2.0.0"]

"""The few calls to the Kubernetes API that the demo and the end-to-end tests make.

Objects are plain dictionaries as the API serves them. Watching starts with what exists and goes on
across closed connections, so a caller sees every state that lasted long enough to be stored last.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from kubernetes.aio import client, config

Object = dict[str, Any]

LOCAL_CONTEXT = "iris-local"
FIELD_MANAGER = "iris-demo"
# The client gives up on any request after 300 s; the server ends a watch politely before that.
WATCH_SECONDS = 240
SUCCESS = 2  # the first digit of a status


class ForeignContextError(Exception):
    """The kubeconfig points at a cluster that is not the local one."""


class ApiError(Exception):
    """An answer of the API server other than 2xx; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Resource:
    """Where a kind lives in the API: ``prefix`` is ``api/v1`` or ``apis/<group>/<version>``."""

    prefix: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """The path of one object, or of all of a namespace."""
        return f"/{self.prefix}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


RELEASES = Resource("apis/iris.mlrelease.dev/v1alpha1", "irismodelreleases")
DEPLOYMENTS = Resource("apis/apps/v1", "deployments")
SERVICES = Resource("api/v1", "services")
PODS = Resource("api/v1", "pods")
EVENTS = Resource("api/v1", "events")
INGRESSES = Resource("apis/networking.k8s.io/v1", "ingresses")
BUDGETS = Resource("apis/policy/v1", "poddisruptionbudgets")
AUTOSCALERS = Resource("apis/autoscaling/v2", "horizontalpodautoscalers")
ENDPOINT_SLICES = Resource("apis/discovery.k8s.io/v1", "endpointslices")


class Change(NamedTuple):
    """One entry of a watch: ``type`` is ADDED, MODIFIED or DELETED."""

    type: str
    object: Object


def local_kubeconfig() -> Path:
    """Where the local cluster writes its kubeconfig.

    ``$KUBECONFIG`` is left out on purpose: it names the cluster that somebody works with.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = os.environ.get("IRIS_CACHE") or Path(cache) / "iris-release"
    return Path(root) / "cluster" / "kubeconfig"


def local_authority() -> Path:
    """The certificate that signs what the local cluster's Ingress controller shows."""
    return local_kubeconfig().parent / "pki" / "ingress-ca.crt"


def refuse_foreign_context(kubeconfig: Path) -> None:
    """Raise ForeignContextError unless the file's current context is the local cluster's."""
    if not kubeconfig.is_file():
        raise ForeignContextError(f"no kubeconfig at {kubeconfig}: run `make cluster-up` first")
    context = yaml.safe_load(kubeconfig.read_text(encoding="utf-8")).get("current-context")
    if context != LOCAL_CONTEXT:
        raise ForeignContextError(f"the current context of {kubeconfig} is {context!r}, not {LOCAL_CONTEXT!r}")


class Kube:
    """A connection to one API server."""

    def __init__(self, api: Any) -> None:
        self._api = api

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None when there is none of that name."""
        try:
            return await self._json("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def list(self, resource: Resource, namespace: str, **query: str) -> list[Object]:
        """Every object of a namespace; ``query`` may hold selectors."""
        items: list[Object] = (await self._json("GET", resource.path(namespace), query))["items"]
        return items

    async def apply(self, resource: Resource, manifest: Object, manager: str = FIELD_MANAGER) -> Object:
        """Server-side apply, as ``kubectl apply --server-side`` does it."""
        meta = manifest["metadata"]
        return await self._json(
            "PATCH",
            resource.path(meta["namespace"], meta["name"]),
            {"fieldManager": manager, "fieldValidation": "Strict"},
            manifest,
            "application/apply-patch+yaml",
        )

    async def create(self, resource: Resource, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create; with ``dry_run`` only be told whether it would be let in."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return await self._json("POST", resource.path(manifest["metadata"]["namespace"]), query, manifest)

    async def merge(self, resource: Resource, namespace: str, name: str, change: Object) -> Object:
        """JSON merge patch: None removes a field."""
        return await self._json("PATCH", resource.path(namespace, name), {}, change, "application/merge-patch+json")

    async def delete(self, resource: Resource, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Ask for the deletion; fine when there is nothing to delete. Does not wait for the end."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        try:
            await self._json("DELETE", resource.path(namespace, name), query)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    async def evict(self, namespace: str, pod: str) -> None:
        """Ask for a pod to leave as a drain does; ApiError 429 when its budget refuses it."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        await self._json("POST", PODS.path(namespace, pod) + "/eviction", {}, eviction)

    async def raw(self, path: str) -> Object:
        """GET any path that answers with JSON, for instance a kubelet's summary through the node proxy."""
        return await self._json("GET", path)

    async def watch(self, resource: Resource, namespace: str, **selectors: str) -> AsyncGenerator[Change, None]:
        """What exists, as ADDED, and then every change, until the caller stops iterating.

        When a watch has expired on the server's side, everything is listed anew: objects come again
        as ADDED, and those that went missing in between come as DELETED.
        """
        known: dict[str, Object] = {}
        while True:
            listed = await self._json("GET", resource.path(namespace), selectors)
            present = {item["metadata"]["name"]: item for item in listed["items"]}
            for name in known.keys() - present.keys():
                yield Change("DELETED", known[name])
            for item in present.values():
                yield Change("ADDED", item)
            known = present
            version = listed["metadata"]["resourceVersion"]
            async with aclosing(self._changes(resource.path(namespace), version, selectors)) as changes:
                async for change in changes:
                    name = change.object["metadata"]["name"]
                    if change.type == "DELETED":
                        known.pop(name, None)
                    else:
                        known[name] = change.object
                    yield change

    async def until(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        holds: Callable[[Object | None], bool],
        seconds: float,
    ) -> Object | None:
        """Wait until ``holds`` is true of the object, None while there is none, and return it.

        Raises TimeoutError after ``seconds``.
        """
        selector = {"fieldSelector": f"metadata.name={name}"}
        async with asyncio.timeout(seconds):
            while True:
                listed = await self._json("GET", resource.path(namespace), selector)
                current = next(iter(listed["items"]), None)
                if holds(current):
                    return current
                version = listed["metadata"]["resourceVersion"]
                async with aclosing(self._changes(resource.path(namespace), version, selector)) as changes:
                    async for change in changes:
                        current = None if change.type == "DELETED" else change.object
                        if holds(current):
                            return current

    async def _changes(self, path: str, version: str, selectors: Mapping[str, str]) -> AsyncGenerator[Change, None]:
        """Changes after ``version``; ends when the server says that it is too old."""
        while True:
            query = {
                **selectors,
                "watch": "1",
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(WATCH_SECONDS),
            }
            try:
                answer = await self._call("GET", path, query)
            except ApiError as error:
                if error.status == HTTPStatus.GONE:
                    return
                raise
            try:
                async for line in answer.response.content:
                    entry = json.loads(line)
                    if entry["type"] == "ERROR":
                        return
                    version = entry["object"]["metadata"]["resourceVersion"]
                    if entry["type"] != "BOOKMARK":
                        yield Change(entry["type"], entry["object"])
            finally:
                _abandon(answer.response)

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        answer = await self._call(method, path, query or {}, body, content_type)
        parsed: Object = json.loads(await answer.read())
        return parsed

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Any:
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*request)
        if answer.status // 100 != SUCCESS:
            raise ApiError(answer.status, _message(await answer.read()))
        return answer


def _abandon(response: Any) -> None:
    """Drop a connection that is in the middle of an answer.

    Closing it would begin a goodbye in TLS that the end of the event loop leaves half said.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def _message(body: bytes) -> str:
    """The message of a Status object, or the body as it is when it is none."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[Kube]:
    """A connection to the local cluster; raises ForeignContextError for any other."""
    refuse_foreign_context(kubeconfig)
    async with connect_anywhere(kubeconfig, LOCAL_CONTEXT) as kube:
        yield kube


@asynccontextmanager
async def connect_anywhere(kubeconfig: Path, context: str | None = None) -> AsyncIterator[Kube]:
    """A connection to the cluster of that context, or of the file's current one; for who means that cluster."""
    # The watches alone hold a connection each; the client's default of few would starve the calls.
    settings = client.Configuration()
    settings.connection_pool_maxsize = 64
    # The package says that it is typed and leaves this function out.
    load_kube_config: Any = config.load_kube_config
    await load_kube_config(config_file=str(kubeconfig), context=context, client_configuration=settings)
    async with client.ApiClient(settings) as api:
        yield Kube(api)

"""A small Kubernetes client with the calls that the demo and the end-to-end tests need.

Objects are plain dictionaries as the API serves them. A watch begins with the existing objects and continues
across closed connections, so a caller sees every object's latest stored state.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes.aio import client, config

from iris_demo.kubeconfig import LOCAL_CONTEXT, require_local_context
from iris_demo.resources import PODS, Resource

Object = dict[str, Any]

FIELD_MANAGER = "iris-demo"
# The client aborts any request after 300 s; the server ends a watch before that.
WATCH_SECONDS = 240
SUCCESS_CLASS = 2  # the first digit of a status


class ApiError(Exception):
    """A response of the API server other than 2xx; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class WatchEvent(NamedTuple):
    """One entry of a watch: ``type`` is ADDED, MODIFIED or DELETED."""

    type: str
    object: Object


class KubeClient:
    """A connection to one API server."""

    def __init__(self, api: Any) -> None:
        self._api = api

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None when there is none of that name."""
        try:
            return await self._request_json("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def list(self, resource: Resource, namespace: str, **query: str) -> list[Object]:
        """Every object of a namespace; ``query`` may hold selectors."""
        items: list[Object] = (await self._request_json("GET", resource.path(namespace), query))["items"]
        return items

    async def apply(self, resource: Resource, manifest: Object, manager: str = FIELD_MANAGER) -> Object:
        """Server-side apply, as ``kubectl apply --server-side`` does it."""
        meta = manifest["metadata"]
        return await self._request_json(
            "PATCH",
            resource.path(meta["namespace"], meta["name"]),
            {"fieldManager": manager, "fieldValidation": "Strict"},
            manifest,
            "application/apply-patch+yaml",
        )

    async def create(self, resource: Resource, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create; with ``dry_run`` only validate and run admission."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return await self._request_json("POST", resource.path(manifest["metadata"]["namespace"]), query, manifest)

    async def merge_patch(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """JSON merge patch: None removes a field."""
        return await self._request_json(
            "PATCH", resource.path(namespace, name), {}, patch, "application/merge-patch+json"
        )

    async def delete(self, resource: Resource, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete; no error when the object does not exist. Does not wait until it is gone."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        try:
            await self._request_json("DELETE", resource.path(namespace, name), query)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    async def evict(self, namespace: str, pod: str) -> None:
        """Evict a pod, as a drain does; ApiError 429 when its disruption budget does not allow it."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        await self._request_json("POST", PODS.path(namespace, pod) + "/eviction", {}, eviction)

    async def get_raw(self, path: str) -> Object:
        """GET any path that answers with JSON, for instance a kubelet's summary through the node proxy."""
        return await self._request_json("GET", path)

    async def watch(self, resource: Resource, namespace: str, **selectors: str) -> AsyncGenerator[WatchEvent, None]:
        """The existing objects, as ADDED, and then every change, until the caller stops iterating.

        When a watch has expired on the server's side, everything is listed again: objects come again
        as ADDED, and those that disappeared in between come as DELETED.
        """
        known: dict[str, Object] = {}
        while True:
            listed = await self._request_json("GET", resource.path(namespace), selectors)
            present = {item["metadata"]["name"]: item for item in listed["items"]}
            for name in known.keys() - present.keys():
                yield WatchEvent("DELETED", known[name])
            for item in present.values():
                yield WatchEvent("ADDED", item)
            known = present
            version = listed["metadata"]["resourceVersion"]
            async with aclosing(self._watch_from(resource.path(namespace), version, selectors)) as changes:
                async for change in changes:
                    name = change.object["metadata"]["name"]
                    if change.type == "DELETED":
                        known.pop(name, None)
                    else:
                        known[name] = change.object
                    yield change

    async def wait_for(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        condition: Callable[[Object | None], bool],
        seconds: float,
    ) -> Object | None:
        """Wait until ``condition`` holds for the object, None while there is none, and return it.

        Raises TimeoutError after ``seconds``.
        """
        selector = {"fieldSelector": f"metadata.name={name}"}
        async with asyncio.timeout(seconds):
            while True:
                listed = await self._request_json("GET", resource.path(namespace), selector)
                current = next(iter(listed["items"]), None)
                if condition(current):
                    return current
                version = listed["metadata"]["resourceVersion"]
                async with aclosing(self._watch_from(resource.path(namespace), version, selector)) as changes:
                    async for change in changes:
                        current = None if change.type == "DELETED" else change.object
                        if condition(current):
                            return current

    async def _watch_from(
        self, path: str, version: str, selectors: Mapping[str, str]
    ) -> AsyncGenerator[WatchEvent, None]:
        """Watch events after ``version``; ends when the server reports that it is too old."""
        while True:
            query = {
                **selectors,
                "watch": "1",
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(WATCH_SECONDS),
            }
            try:
                response = await self._request("GET", path, query)
            except ApiError as error:
                if error.status == HTTPStatus.GONE:
                    return
                raise
            try:
                async for line in response.response.content:
                    entry = json.loads(line)
                    if entry["type"] == "ERROR":
                        return
                    version = entry["object"]["metadata"]["resourceVersion"]
                    if entry["type"] != "BOOKMARK":
                        yield WatchEvent(entry["type"], entry["object"])
            finally:
                _abort(response.response)

    async def _request_json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        response = await self._request(method, path, query or {}, body, content_type)
        parsed: Object = json.loads(await response.read())
        return parsed

    async def _request(
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
        response = await self._api.call_api(*request)
        if response.status // 100 != SUCCESS_CLASS:
            raise ApiError(response.status, _error_message(await response.read()))
        return response


def _abort(response: Any) -> None:
    """Abort a connection in the middle of a response.

    Closing it would begin a TLS shutdown that the end of the event loop interrupts.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def _error_message(body: bytes) -> str:
    """The message of a Status object, or the body itself when it is not one."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[KubeClient]:
    """A connection to the local cluster; raises ForeignContextError for any other."""
    require_local_context(kubeconfig)
    async with connect_to_context(kubeconfig, LOCAL_CONTEXT) as kube:
        yield kube


@asynccontextmanager
async def connect_to_context(kubeconfig: Path, context: str | None = None) -> AsyncIterator[KubeClient]:
    """A connection to the cluster of ``context``, or of the file's current context, whichever cluster that is."""
    # Each watch holds a connection; the client's small default would leave none for other calls.
    settings = client.Configuration()
    settings.connection_pool_maxsize = 64
    # The package claims to be typed but does not type this function.
    load_kube_config: Any = config.load_kube_config
    await load_kube_config(config_file=str(kubeconfig), context=context, client_configuration=settings)
    async with client.ApiClient(settings) as api:
        yield KubeClient(api)

"""Plain JSON to and from the API server, its errors turned into the engine's exceptions."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from iris_operator.api import names
from iris_operator.engine.kinds import ResourceKind
from iris_operator.engine.ports import Conflict, Forbidden, Json, NotLeader, Refused, ServerError, Unavailable

log = logging.getLogger(__name__)

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
# A request that hangs must not block the release: the next reconcile repeats it.
_TIMEOUT_SECONDS = 10.0
_DEFAULT_RETRY_SECONDS = 2.0
# In the message of a request that the admission policy in deploy/base/operator/fencing.yaml rejects.
_NOT_LEADER = "is not the leader"
# However long the server, or a proxy before it, asks to wait: a rollback cannot.
_MAX_RETRY_SECONDS = 30.0
# What an API server says with status 500 when it cannot merge an object by its schema, as after a name that is twice in
# a list: the object is at fault.
_INVALID_OBJECT = (
    "failed to create typed",
    "duplicate entries for key",
    "field not declared in schema",
    "expected map, got",
    "expected list, got",
    "expected string, got",
    "expected numeric",
    "expected boolean",
    "json: unsupported value",
    "json: cannot unmarshal",
    "invalid character",
)
# What webhooks, policies and quotas say with status 403. What the Role lacks is told in other words.
_DENIED_OBJECT = (
    "denied the request",
    "denied request",
    "violates PodSecurity",
    "exceeded quota",
    "being terminated",
    "is forbidden: maximum ",
    "is forbidden: minimum ",
)


async def connect() -> client.ApiClient:
    """A client of the cluster that the operator runs in, or of the current kubeconfig outside of one."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    return client.ApiClient(configuration)


class KubernetesApi:
    """get, apply, create, replace and delete with manifests in JSON, without the generated client's models."""

    def __init__(
        self,
        api_client: client.ApiClient,
        kinds: Iterable[ResourceKind],
        *,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`kinds` are those whose objects it can reach. Every write asks `may_write` right before it is sent."""
        self._client = api_client
        self._may_write = may_write
        self._plurals = {(kind.api_version, kind.kind): kind.plural for kind in kinds}

    async def get(
        self, api_version: str, kind: str, namespace: str, name: str, *, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> Json | None:
        """An object as it is stored now; None when there is none."""
        path = self._path(api_version, kind, namespace, name)
        status, body = await self._request("GET", path, timeout_seconds=timeout_seconds)
        return None if status == HTTPStatus.NOT_FOUND else body

    async def read(self, path: str) -> Json | None:
        """What the API server answers to GET for a path; None when there is nothing."""
        status, body = await self._request("GET", path)
        return None if status == HTTPStatus.NOT_FOUND else body

    async def list_objects(self, kind: ResourceKind, namespace: str) -> list[Json]:
        """All objects of a kind in a namespace."""
        body = await self.read(self._path(kind.api_version, kind.kind, namespace, ""))
        return [] if body is None else body["items"]

    async def apply(self, manifest: Json, *, subresource: str = "", manager: str = names.FIELD_MANAGER) -> Json:
        """Server-side apply with force: the fields in the manifest become the field manager's, all others stay.

        Raises:
            Conflict: the manifest names a resource version or a uid that is not the stored one.
        """
        return await self._apply(manifest, subresource=subresource, manager=manager, force=True)

    async def apply_new(self, manifest: Json) -> Json:
        """The same for an object that does not exist, without force.

        Raises:
            Conflict: somebody else has created it meanwhile, with another value of one of the fields.
        """
        return await self._apply(manifest, subresource="", manager=names.FIELD_MANAGER, force=False)

    async def _apply(self, manifest: Json, *, subresource: str, manager: str, force: bool) -> Json:
        path = self._path_of(manifest) + (f"/{subresource}" if subresource else "")
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        status, body = await self._request("PATCH", path, query=query, body=manifest, content_type=_APPLY)
        if status == HTTPStatus.NOT_FOUND:
            raise Conflict(f"{path} is gone")
        return body

    async def merge_patch(self, manifest: Json, changes: Json) -> Json:
        """Change fields of the object with the manifest's name; null removes one, a list is replaced as a whole.

        Raises:
            Conflict: it is gone, or the changes name a resource version or a uid that is not the stored one.
        """
        path, query = self._path_of(manifest), {"fieldManager": names.FIELD_MANAGER}
        status, body = await self._request("PATCH", path, query=query, body=changes, content_type=_MERGE)
        if status == HTTPStatus.NOT_FOUND:
            raise Conflict(f"{path} is gone")
        return body

    async def any_stored(self, kind: ResourceKind, namespace: str) -> bool:
        """Is there any object of the kind? None of a kind that the API server does not know."""
        path = self._path(kind.api_version, kind.kind, namespace, "")
        _, body = await self._request("GET", path, query={"limit": "1"})
        return bool(body.get("items"))

    async def create(self, manifest: Json, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> Json:
        """Create an object, its name given or generated."""
        api_version, kind, namespace = manifest["apiVersion"], manifest["kind"], manifest["metadata"]["namespace"]
        query = {"fieldManager": names.FIELD_MANAGER}
        path = self._path(api_version, kind, namespace, "")
        _, body = await self._request("POST", path, query=query, body=manifest, timeout_seconds=timeout_seconds)
        return body

    async def replace(self, manifest: Json, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> Json:
        """Replace the version of an object that the manifest names.

        Raises:
            Conflict: another version is stored, or none.
        """
        path, query = self._path_of(manifest), {"fieldManager": names.FIELD_MANAGER}
        status, body = await self._request("PUT", path, query=query, body=manifest, timeout_seconds=timeout_seconds)
        if status == HTTPStatus.NOT_FOUND:
            raise Conflict(f"{path} is gone")
        return body

    async def delete(self, manifest: Json, *, uid: str = "") -> None:
        """Delete an object; its dependents are garbage-collected in the background.

        Raises:
            Conflict: it is another one than that of the given uid.
        """
        options = {"preconditions": {"uid": uid}} if uid else None
        query = {"propagationPolicy": "Background"}
        await self._request("DELETE", self._path_of(manifest), query=query, body=options)

    def _path_of(self, manifest: Json) -> str:
        metadata = manifest["metadata"]
        return self._path(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])

    def _path(self, api_version: str, kind: str, namespace: str, name: str) -> str:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        return f"{root}/namespaces/{namespace}/{self._plurals[api_version, kind]}" + (f"/{name}" if name else "")

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = _JSON,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Accept": _JSON, "Content-Type": content_type, "User-Agent": names.FIELD_MANAGER}
        try:
            prepared = await self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            if method != "GET" and not self._may_write():
                raise NotLeader(f"{method} {path}: another operator leads")
            # The body skips the generated client's serialiser: it is JSON already.
            response = await self._client.call_api(
                prepared[0], prepared[1], prepared[2], body=body, _request_timeout=timeout_seconds
            )
            data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}: {error}", _DEFAULT_RETRY_SECONDS) from error
        if response.status == HTTPStatus.NOT_FOUND:
            return response.status, {}  # plain text, where a whole group is missing
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            return response.status, json.loads(data) if data else {}
        raise _error_for(method, path, response.status, response.headers.get("Retry-After"), data)


def _error_for(method: str, path: str, status: int, retry_after: str | None, data: bytes) -> Exception:
    message = _message(data)
    text = f"{method} {path}: {status} {message}"
    if status == HTTPStatus.CONFLICT:
        return Conflict(text)
    # First: the words of a rejection by a policy are also those of this one.
    if status == HTTPStatus.FORBIDDEN and _NOT_LEADER in message:
        log.warning("the API server rejected a late write: %s", message)
        return NotLeader(text)
    if _is_refusal(status, message):
        return Refused(text)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Forbidden(f"{message or path} (the operator's Role must allow it)")
    error = ServerError if status == HTTPStatus.INTERNAL_SERVER_ERROR else Unavailable
    return error(text, _retry_seconds(retry_after))


def _is_refusal(status: int, message: str) -> bool:
    """Is the object at fault, and so the same request refused for ever? The status code alone does not say."""
    if status == HTTPStatus.FORBIDDEN:
        return any(words in message for words in _DENIED_OBJECT)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return any(words in message for words in _INVALID_OBJECT)
    temporary = (HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    return status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in temporary


def _retry_seconds(retry_after: str | None) -> float:
    """Seconds to wait by the header; a date in it, or nonsense, is as none."""
    try:
        seconds = float(retry_after) if retry_after else _DEFAULT_RETRY_SECONDS
    except ValueError:
        return _DEFAULT_RETRY_SECONDS
    return min(seconds, _MAX_RETRY_SECONDS) if seconds >= 0 else _DEFAULT_RETRY_SECONDS


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data).get("message", ""))
    except (ValueError, AttributeError):
        return data[:200].decode(errors="replace")

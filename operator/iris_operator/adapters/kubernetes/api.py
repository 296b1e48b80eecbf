"""Plain JSON to and from the API server, its errors turned into the engine's exceptions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from iris_operator.api import names
from iris_operator.engine.kinds import ResourceKind
from iris_operator.engine.ports import Conflict, Forbidden, Json, Refused, ServerError, Unavailable

_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
# A request that hangs must not block the release: the next reconcile repeats it.
_TIMEOUT_SECONDS = 10.0
_DEFAULT_RETRY_SECONDS = 2.0
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
    """get, apply, create and delete with manifests in JSON, without the generated client's models."""

    def __init__(self, api_client: client.ApiClient, kinds: Iterable[ResourceKind]) -> None:
        """`kinds` are those whose objects it can reach."""
        self._client = api_client
        self._plurals = {(kind.api_version, kind.kind): kind.plural for kind in kinds}

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Json | None:
        """An object as it is stored now; None when there is none."""
        status, body = await self._request("GET", self._path(api_version, kind, namespace, name))
        return None if status == HTTPStatus.NOT_FOUND else body

    async def apply(self, manifest: Json, *, subresource: str = "", manager: str = names.FIELD_MANAGER) -> Json:
        """Server-side apply with force: the fields in the manifest become the field manager's, all others stay.

        Raises:
            Conflict: the manifest names a resource version that is not the stored one.
        """
        path = self._path_of(manifest) + (f"/{subresource}" if subresource else "")
        query = {"fieldManager": manager, "force": "true"}
        status, body = await self._request("PATCH", path, query=query, body=manifest, content_type=_APPLY)
        if status == HTTPStatus.NOT_FOUND:
            raise Conflict(f"{path} is gone")
        return body

    async def create(self, manifest: Json) -> Json:
        """Create an object, its name given or generated."""
        api_version, kind, namespace = manifest["apiVersion"], manifest["kind"], manifest["metadata"]["namespace"]
        query = {"fieldManager": names.FIELD_MANAGER}
        _, body = await self._request("POST", self._path(api_version, kind, namespace, ""), query=query, body=manifest)
        return body

    async def delete(self, manifest: Json) -> None:
        """Delete an object; its dependents are garbage-collected in the background."""
        await self._request("DELETE", self._path_of(manifest), query={"propagationPolicy": "Background"})

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
            # The body skips the generated client's serialiser: it is JSON already.
            response = await self._client.call_api(
                prepared[0], prepared[1], prepared[2], body=body, _request_timeout=_TIMEOUT_SECONDS
            )
            data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}: {error}", _DEFAULT_RETRY_SECONDS) from error
        if response.status < HTTPStatus.MULTIPLE_CHOICES or response.status == HTTPStatus.NOT_FOUND:
            return response.status, json.loads(data) if data else {}
        raise _error_for(method, path, response.status, response.headers.get("Retry-After"), data)


def _error_for(method: str, path: str, status: int, retry_after: str | None, data: bytes) -> Exception:
    message = _message(data)
    text = f"{method} {path}: {status} {message}"
    if status == HTTPStatus.CONFLICT:
        return Conflict(text)
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

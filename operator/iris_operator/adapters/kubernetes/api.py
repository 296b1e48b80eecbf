"""Plain JSON to and from the API server, its refusals turned into the engine's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from iris_operator.api import names
from iris_operator.engine.ports import Conflict, Forbidden, Json, Unavailable

_PLURALS = {
    ("apps/v1", "Deployment"): "deployments",
    ("v1", "Service"): "services",
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Event"): "events",
    ("networking.k8s.io/v1", "Ingress"): "ingresses",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "horizontalpodautoscalers",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    (names.API_VERSION, names.KIND): names.PLURAL,
}
_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
# A request that hangs must not hang the release: the next pass asks again.
_TIMEOUT_SECONDS = 10.0
_DEFAULT_PATIENCE_SECONDS = 2.0


async def connect() -> client.ApiClient:
    """A client of the cluster that we run in, or of the current kubeconfig outside of one."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    return client.ApiClient(configuration)


class KubernetesApi:
    """get, apply, create, delete: by manifest, in JSON, without models."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client = api_client

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Json | None:
        """An object as it is stored now; None when there is none."""
        status, body = await self._request("GET", _path(api_version, kind, namespace, name))
        return None if status == HTTPStatus.NOT_FOUND else body

    async def apply(self, manifest: Json, *, subresource: str = "", manager: str = names.FIELD_MANAGER) -> Json:
        """Server-side apply with force: fields that we name become the field manager's, all others stay.

        Raises:
            Conflict: the manifest names a resource version that is not the stored one.
        """
        path = _path_of(manifest) + (f"/{subresource}" if subresource else "")
        query = {"fieldManager": manager, "force": "true"}
        status, body = await self._request("PATCH", path, query=query, body=manifest, content_type=_APPLY)
        if status == HTTPStatus.NOT_FOUND:
            raise Conflict(f"{path} is gone")
        return body

    async def create(self, manifest: Json) -> Json:
        """Create an object, its name given or generated."""
        api_version, kind, namespace = manifest["apiVersion"], manifest["kind"], manifest["metadata"]["namespace"]
        query = {"fieldManager": names.FIELD_MANAGER}
        _, body = await self._request("POST", _path(api_version, kind, namespace, ""), query=query, body=manifest)
        return body

    async def delete(self, manifest: Json) -> None:
        """Delete an object; its pods go after it."""
        await self._request("DELETE", _path_of(manifest), query={"propagationPolicy": "Background"})

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
            # The body goes past the generated client's serialiser: it is JSON already.
            response = await self._client.call_api(
                prepared[0], prepared[1], prepared[2], body=body, _request_timeout=_TIMEOUT_SECONDS
            )
            data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}: {error}", _DEFAULT_PATIENCE_SECONDS) from error
        if response.status < HTTPStatus.MULTIPLE_CHOICES or response.status == HTTPStatus.NOT_FOUND:
            return response.status, json.loads(data) if data else {}
        raise _refusal(method, path, response.status, response.headers.get("Retry-After"), data)


def _refusal(method: str, path: str, status: int, retry_after: str | None, data: bytes) -> Exception:
    message = _message(data)
    if status == HTTPStatus.CONFLICT:
        return Conflict(f"{method} {path}: {message}")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Forbidden(f"{message or path} (the operator's Role must allow it)")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        patience = float(retry_after) if retry_after and retry_after.isdigit() else _DEFAULT_PATIENCE_SECONDS
        return Unavailable(f"{method} {path}: {status} {message}", patience)
    return Refused(f"{method} {path}: {status} {message}")


class Refused(Exception):
    """The API server finds our object wrong; the message is its own."""


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data).get("message", ""))
    except (ValueError, AttributeError):
        return data[:200].decode(errors="replace")


def _path_of(manifest: Json) -> str:
    metadata = manifest["metadata"]
    return _path(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])


def _path(api_version: str, kind: str, namespace: str, name: str) -> str:
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    return f"{root}/namespaces/{namespace}/{_PLURALS[api_version, kind]}" + (f"/{name}" if name else "")

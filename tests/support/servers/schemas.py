"""JSON schemas for kubeconform, from the OpenAPI documents of a real API server: built-in kinds and ours."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from support.servers.kubernetes import KubeApiserver

# How kubeconform finds the file of a kind below the folder.
LOCATION = "{{ .ResourceKind }}{{ .KindSuffix }}.json"
_SELECTING = {"allOf", "anyOf", "oneOf", "$ref"}


def write(server: KubeApiserver, folder: Path, kinds: Collection[tuple[str, str]]) -> None:
    """Writes a schema for each (apiVersion, kind); KeyError names one that the API server does not have."""
    for api_version in {api_version for api_version, _ in kinds}:
        prefix = "apis" if "/" in api_version else "api"
        published = server.request("GET", f"/openapi/v3/{prefix}/{api_version}")["components"]["schemas"]
        names = {
            entry["kind"]: name
            for name, schema in published.items()
            for entry in schema.get("x-kubernetes-group-version-kind", [])
            if "/".join(filter(None, (entry["group"], entry["version"]))) == api_version
        }
        strict = {name: _closed(schema) for name, schema in published.items()}
        for kind in (kind for version, kind in kinds if version == api_version):
            schema = {
                # OpenAPI 3.0 marks an exclusive bound with a flag, as this draft did and later ones do not.
                "$schema": "http://json-schema.org/draft-04/schema#",
                "allOf": [{"$ref": f"#/components/schemas/{names[kind]}"}],
                "components": {"schemas": strict},
            }
            (folder / _file(api_version, kind)).write_text(json.dumps(schema))


def _file(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    suffix = f"{group.split('.')[0]}-{version}" if group else version
    return f"{kind.lower()}-{suffix}.json"


def _closed(node: Any) -> Any:
    """The same schema, in which an object with named fields has no others."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    open_on_purpose = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if isinstance(node.get("properties"), dict) and not open_on_purpose and not _SELECTING & node.keys():
        closed["additionalProperties"] = False
    return closed

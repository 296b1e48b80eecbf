"""The objects of a release as we want them: pure functions from a release to manifests."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from iris_operator.api import names
from iris_operator.engine.release import Inputs, Release

_USER = 10001
# New requests still arrive while the routers learn that a pod goes: it answers them for this long.
_LEAVE_SECONDS = 5
_GRACE_SECONDS = 30
_SERVICE_PORT = 80
_ZONE = "topology.kubernetes.io/zone"


def deployment(
    release: Release, inputs: Inputs, role: str, replicas: int | None, retired_at: datetime | None
) -> dict[str, Any]:
    """The Deployment of one revision. Its role is a label of the Deployment alone: a new role restarts no pod.

    Without `replicas` it says nothing of their number, which is then somebody else's to decide.
    """
    ref = inputs.ref
    selector = {names.LABEL_RELEASE: release.name, names.LABEL_REVISION: ref.revision}
    identity = {**selector, names.LABEL_VERSION: ref.version, "app.kubernetes.io/name": release.name}
    annotations = {names.ANNOTATION_INPUTS: inputs.to_text()}
    if retired_at is not None:
        annotations[names.ANNOTATION_RETIRED_AT] = retired_at.isoformat()
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names.workload_name(release.name, ref.revision),
            "namespace": release.namespace,
            "labels": {**release.labels, **identity, names.LABEL_ROLE: role},
            "annotations": annotations,
            "ownerReferences": [release.owner],
        },
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {**release.labels, **identity}},
                "spec": _pod_spec(release, inputs, selector),
            },
        },
    }


def _pod_spec(release: Release, inputs: Inputs, selector: dict[str, str]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # A node or a zone that goes takes as few pods of a revision with it as can be; full ones are no reason to wait.
        "topologySpreadConstraints": [_spread("kubernetes.io/hostname", selector), _spread(_ZONE, selector)],
        "containers": [_container(inputs)],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            # What it says is no part of the template: the pods read it anew, and none is made anew for it.
            {"name": "shadow", "configMap": {"name": names.shadow_plan(release.name), "optional": True}},
        ],
    }
    if inputs.serving.image_pull_secrets:
        spec["imagePullSecrets"] = inputs.serving.image_pull_secrets
    return spec


def _spread(topology: str, selector: dict[str, str]) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }


def _container(inputs: Inputs) -> dict[str, Any]:
    serving = inputs.serving
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": inputs.model.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [
            {"name": names.PORT_HTTP, "containerPort": serving.port, "protocol": "TCP"},
            {"name": names.PORT_METRICS, "containerPort": names.METRICS_PORT, "protocol": "TCP"},
        ],
        "env": [
            {
                "name": "IRIS_REVISION",
                "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{names.LABEL_REVISION}']"}},
            },
            {"name": "IRIS_PORT", "value": str(serving.port)},
            {"name": "IRIS_METRICS_PORT", "value": str(names.METRICS_PORT)},
            {"name": "IRIS_SHADOW_FILE", "value": f"{names.SHADOW_FOLDER}/{names.SHADOW_FILE}"},
            *serving.env,
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/healthz", period=1, failures=120),
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}},
        # A crash at start explains itself in status and event: the last log lines come with the exit code.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the pod, its own emptyDir
            {"name": "shadow", "mountPath": names.SHADOW_FOLDER, "readOnly": True},
        ],
    }
    if serving.resources:
        container["resources"] = serving.resources
    if serving.env_from:
        container["envFrom"] = serving.env_from
    return container


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.PORT_HTTP},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def service(release: Release, name: str, revision: str) -> dict[str, Any]:
    """A Service that selects exactly one revision."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": release.namespace,
            "labels": release.labels,
            "ownerReferences": [release.owner],
        },
        "spec": {
            "selector": {names.LABEL_RELEASE: release.name, names.LABEL_REVISION: revision},
            "ports": [
                {"name": names.PORT_HTTP, "port": _SERVICE_PORT, "targetPort": names.PORT_HTTP, "protocol": "TCP"}
            ],
        },
    }


def shadow_plan(release: Release, revision: str | None, share: int) -> dict[str, Any]:
    """The ConfigMap that says to stable's pods of how many requests, in percent, the revision gets copies.

    It stays when nobody gets any: a pod sees what it says sooner than that it is gone.
    """
    host = f"{names.canary_service(release.name)}.{release.namespace}.svc"
    told = {"revision": revision, "url": f"http://{host}:{_SERVICE_PORT}", "share": share / 100}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.shadow_plan(release.name),
            "namespace": release.namespace,
            "labels": release.labels,
            "ownerReferences": [release.owner],
        },
        "data": {names.SHADOW_FILE: "" if revision is None else json.dumps(told)},
    }

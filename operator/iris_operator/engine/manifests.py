"""The desired objects of a release: pure functions from a release to manifests."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from iris_operator.api import names
from iris_operator.engine.kinds import CONFIG_MAP, DEPLOYMENT, SERVICE
from iris_operator.engine.release import Release, RevisionInputs

_USER = 10001
# New requests still arrive until the routers have removed a terminating pod: it serves them for this long.
_PRE_STOP_SECONDS = 5
_GRACE_SECONDS = 30
_SERVICE_PORT = 80
_ZONE = "topology.kubernetes.io/zone"
ROLE_CONTROL = "control"


def deployment(
    release: Release,
    inputs: RevisionInputs,
    role: str,
    replicas: int | None,
    retired_at: datetime | None,
    *,
    backend_label: bool = True,
) -> dict[str, Any]:
    """The Deployment of one revision. Its role is a label of the Deployment alone: a new role restarts no pod.

    Without `replicas` the field is left out, and somebody else decides it. `backend_label` False is for a Deployment
    that was made before there was that label: with it all of its pods would be replaced.
    """
    revision = inputs.ref.revision
    labels = {names.LABEL_BACKEND: revision} if backend_label else {}
    manifest = _deployment(release, inputs, revision, role, labels)
    if replicas is not None:
        manifest["spec"]["replicas"] = replicas
    if retired_at is not None:
        manifest["metadata"]["annotations"][names.ANNOTATION_RETIRED_AT] = retired_at.isoformat()
    return manifest


def needs_backend_label(release: Release, role: str) -> bool:
    """Must pods of a Deployment with this role have the label `backend`, even if they are replaced for it?"""
    return role == "canary" and release.status.control is not None


def control_group(release: Release, stable: RevisionInputs, canary: str, replicas: int) -> dict[str, Any]:
    """The Deployment of the control group: stable's pods under a revision label of their own, beside this canary's.

    No selector of stable meets them, and caches and counters that go by the revision are the control group's own.
    """
    revision = names.control_revision(stable.ref.revision, canary)
    labels = {names.LABEL_BACKEND: canary, names.LABEL_ARM: names.ARM_CONTROL}
    manifest = _deployment(release, stable, revision, ROLE_CONTROL, labels)
    manifest["metadata"]["labels"] |= labels
    manifest["spec"]["replicas"] = replicas
    return manifest


def _deployment(
    release: Release, inputs: RevisionInputs, revision: str, role: str, pod_labels: dict[str, str]
) -> dict[str, Any]:
    """A Deployment of these inputs; `pod_labels` are its pods' labels beside their identity."""
    selector = {names.LABEL_RELEASE: release.name, names.LABEL_REVISION: revision}
    identity = {**selector, names.LABEL_VERSION: inputs.ref.version, "app.kubernetes.io/name": release.name}
    return {
        **DEPLOYMENT.type_meta,
        "metadata": {
            "name": names.workload_name(release.name, revision),
            "namespace": release.namespace,
            "labels": {**release.labels, **identity, names.LABEL_ROLE: role},
            "annotations": {names.ANNOTATION_INPUTS: inputs.to_text()},
            "ownerReferences": [release.owner],
        },
        "spec": {
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {**release.labels, **identity, **pod_labels}},
                # Built from fields that this operator knows, a newer one's pods would be replaced.
                "spec": inputs.template["spec"] if inputs.template else _pod_spec(release, inputs, selector),
            },
        },
    }


def _pod_spec(release: Release, inputs: RevisionInputs, selector: dict[str, str]) -> dict[str, Any]:
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
        # A failing node or zone takes as few pods of a revision as possible; a full one delays no pod.
        "topologySpreadConstraints": [_spread("kubernetes.io/hostname", selector), _spread(_ZONE, selector)],
        "containers": [_container(inputs)],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            # Its content is no part of the template: a change is mounted into running pods, and restarts none.
            {"name": "shadow", "configMap": {"name": names.shadow_config(release.name), "optional": True}},
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


def _container(inputs: RevisionInputs) -> dict[str, Any]:
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
        "lifecycle": {"preStop": {"sleep": {"seconds": _PRE_STOP_SECONDS}}},
        # Status and events explain a crash at start: the last log lines come with the exit code.
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


def service(release: Release, name: str, revision: str, *, with_control: bool = False) -> dict[str, Any]:
    """A Service that selects exactly one revision; `with_control`: that canary's pods and its control group's."""
    label = names.LABEL_BACKEND if with_control else names.LABEL_REVISION
    return _service(release, name, {label: revision})


def control_service(release: Release) -> dict[str, Any]:
    """The Service of the control group, of whichever rollout: mirrored requests are sent to each arm by itself."""
    return _service(release, names.control_service(release.name), {names.LABEL_ARM: names.ARM_CONTROL})


def _service(release: Release, name: str, selector: dict[str, str]) -> dict[str, Any]:
    return {
        **SERVICE.type_meta,
        "metadata": {
            "name": name,
            "namespace": release.namespace,
            "labels": release.labels,
            "ownerReferences": [release.owner],
        },
        "spec": {
            "selector": {names.LABEL_RELEASE: release.name, **selector},
            "ports": [
                {"name": names.PORT_HTTP, "port": _SERVICE_PORT, "targetPort": names.PORT_HTTP, "protocol": "TCP"}
            ],
        },
    }


def shadow_config(release: Release, revision: str | None, share: int, control: str) -> dict[str, Any]:
    """The ConfigMap that tells stable's pods what share of their requests, in percent, to mirror to the revision.

    `control` is the revision of the control group, which gets the same requests; empty: there is none. The ConfigMap
    stays when nothing is mirrored: pods see its new content sooner than its deletion.
    """

    def target(revision: str | None, service_name: str) -> dict[str, Any]:
        return {"revision": revision, "url": f"http://{service_name}.{release.namespace}.svc:{_SERVICE_PORT}"}

    config = {**target(revision, names.canary_service(release.name)), "share": share / 100}
    if control:
        config["control"] = target(control, names.control_service(release.name))
    return {
        **CONFIG_MAP.type_meta,
        "metadata": {
            "name": names.shadow_config(release.name),
            "namespace": release.namespace,
            "labels": release.labels,
            "ownerReferences": [release.owner],
        },
        "data": {names.SHADOW_FILE: "" if revision is None else json.dumps(config)},
    }

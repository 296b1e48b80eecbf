"""Every name by which other tools know us: group, kind, labels, annotations, field manager."""

from __future__ import annotations

GROUP = "iris.mlrelease.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "IrisModelRelease"
PLURAL = "irismodelreleases"
SINGULAR = "irismodelrelease"
SHORT_NAME = "imr"

FIELD_MANAGER = "iris-operator"
# Holds the number of pods of a Deployment that an autoscaler scales, from when we let go of it until that changes it.
REPLICAS_MANAGER = "iris-operator-replicas"
FINALIZER = f"{GROUP}/release"

LABEL_RELEASE = f"{GROUP}/release"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_VERSION = f"{GROUP}/version"
LABEL_ROLE = f"{GROUP}/role"

# What a revision was made of, kept on its Deployment: the operator can put a revision right
# (or scale it up again) long after spec.model has moved on.
ANNOTATION_INPUTS = f"{GROUP}/inputs"
ANNOTATION_RETIRED_AT = f"{GROUP}/retired-at"
# Set by a person on the release: which step may start although it asks for an approval.
ANNOTATION_APPROVED = f"{GROUP}/approved"
# Set by a person on the release: any new value tries a rejected or timed-out revision again.
ANNOTATION_RETRY = f"{GROUP}/retry"

CONTAINER = "inference"
PORT_HTTP = "http"
PORT_METRICS = "metrics"
METRICS_PORT = 9100
# Where a pod finds the plan of its copies.
SHADOW_FOLDER = "/etc/iris/shadow"
SHADOW_FILE = "plan.json"


def workload_name(release: str, revision: str) -> str:
    """Name of the Deployment that runs one revision of a release."""
    return f"{release}-{revision}"


def autoscaler_name(release: str) -> str:
    """Name of the HorizontalPodAutoscaler of a release: one, whichever revision it scales."""
    return release


def stable_service(release: str) -> str:
    """Name of the Service that the primary route points to."""
    return f"{release}-stable"


def shadow_plan(release: str) -> str:
    """Name of the ConfigMap that says to stable's pods of which requests the canary gets copies."""
    return f"{release}-shadow"


def canary_service(release: str) -> str:
    """Name of the Service that the canary route points to."""
    return f"{release}-canary"

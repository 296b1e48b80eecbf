"""Names that other tools use: group, kind, labels, annotations, field managers."""

from __future__ import annotations

GROUP = "iris.mlrelease.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "IrisModelRelease"
PLURAL = "irismodelreleases"
SINGULAR = "irismodelrelease"
SHORT_NAME = "imr"

FIELD_MANAGER = "iris-operator"
# Owns the replicas of an autoscaled Deployment from the time when the operator gives them up until the autoscaler sets
# them.
REPLICAS_MANAGER = "iris-operator-replicas"
# Lowers the weight of a route, alone, before anything else is written to it.
WEIGHT_MANAGER = "iris-operator-weight"
FINALIZER = f"{GROUP}/release"

LABEL_RELEASE = f"{GROUP}/release"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_VERSION = f"{GROUP}/version"
LABEL_ROLE = f"{GROUP}/role"
# On the pods of both arms of a comparison: the canary's revision. The canary Service selects by it.
LABEL_BACKEND = f"{GROUP}/backend"
# On the pods of the control group only. A pod keeps its labels, so a canary's cannot say that it is one.
LABEL_ARM = f"{GROUP}/arm"
ARM_CONTROL = "control"

# The inputs of a revision, on its Deployment: the operator can repair a revision, or scale it up again, long after
# spec.model has changed.
ANNOTATION_INPUTS = f"{GROUP}/inputs"
ANNOTATION_RETIRED_AT = f"{GROUP}/retired-at"

# Set by people on the release; docs/runbooks/README.md has what each value does.
# `<revision>` or `<revision>/<attempt>`: leave out the remaining steps of this rollout.
ANNOTATION_PROMOTE = f"{GROUP}/promote"
# `<revision>` or `<revision>/<attempt>`: roll this rollout back.
ANNOTATION_ABORT = f"{GROUP}/abort"
# `<revision>/<step>@<weight>`: this step may start with this weight.
ANNOTATION_APPROVED = f"{GROUP}/approved"
# Any new value: try a rejected or timed-out revision again.
ANNOTATION_RETRY = f"{GROUP}/retry"
# `true` or a reason: all traffic goes to stable at once, and nothing moves until the annotation is gone.
ANNOTATION_HOLD = f"{GROUP}/hold"
ANNOTATIONS_OF_PEOPLE = frozenset(
    {ANNOTATION_PROMOTE, ANNOTATION_ABORT, ANNOTATION_APPROVED, ANNOTATION_RETRY, ANNOTATION_HOLD}
)

_CONTROL = f"-{ARM_CONTROL}-"

CONTAINER = "inference"
PORT_HTTP = "http"
PORT_METRICS = "metrics"
METRICS_PORT = 9100
# Where a pod finds its shadow config.
SHADOW_FOLDER = "/etc/iris/shadow"
SHADOW_FILE = "plan.json"


def workload_name(release: str, revision: str) -> str:
    """Name of the Deployment that runs one revision of a release."""
    return f"{release}-{revision}"


def control_revision(stable: str, canary: str) -> str:
    """The revision label of the control group of a rollout: stable's inputs, and pods, caches and labels of its own."""
    return f"{stable}{_CONTROL}{canary}"


def is_control_revision(revision: str) -> bool:
    """Is it the revision label of a control group? Revisions themselves are hexadecimal digits."""
    return _CONTROL in revision


def stable_of_control(revision: str) -> str:
    """The revision of stable in the revision label of a control group."""
    return revision.partition(_CONTROL)[0]


def canary_of_control(revision: str) -> str:
    """The revision of the canary in the revision label of a control group."""
    return revision.partition(_CONTROL)[2]


def autoscaler_name(release: str) -> str:
    """Name of the HorizontalPodAutoscaler of a release: one, whichever revision it scales."""
    return release


def stable_service(release: str) -> str:
    """Name of the Service that the primary route points to."""
    return f"{release}-stable"


def shadow_config(release: str) -> str:
    """Name of the ConfigMap that tells stable's pods which share of the requests to mirror, and where to."""
    return f"{release}-shadow"


def canary_service(release: str) -> str:
    """Name of the Service that the canary route points to."""
    return f"{release}-canary"


def control_service(release: str) -> str:
    """Name of the Service of the control group alone, which gets mirrored requests and no route."""
    return f"{release}-control"

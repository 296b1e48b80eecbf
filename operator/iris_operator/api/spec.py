"""`spec`: what the user wants. The operator reads it and never writes it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from iris_operator.api.base import ApiModel
from iris_operator.api.durations import DURATION_PATTERN, parse_duration

# Rules in CEL, run by the API server at admission. The key is copied into the CRD by `api.crd`.
CEL = "x-kubernetes-validations"


def _rule(rule: str, message: str) -> dict[str, Any]:
    return {CEL: [{"rule": rule, "message": message}]}


def _check_duration(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[
    str,
    Field(
        max_length=32,
        json_schema_extra=_rule(f"self.matches('{DURATION_PATTERN}')", "must be a duration such as 30s, 5m or 1h30m"),
    ),
]
# A nested object of Kubernetes itself, handed on to the pod as it is; the API server checks it there.
KubernetesObject = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]


class Model(ApiModel):
    """The model to serve. A change of this block is a release."""

    name: str = Field(
        min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="Name of the model."
    )
    version: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        description="Version of the model; it becomes a label of the pods.",
    )
    image: str = Field(
        min_length=1,
        max_length=512,
        description="Image that serves the model: by digest, or by a tag that is never moved.",
        json_schema_extra={
            CEL: [
                {
                    "rule": r"self.matches('^[^@\\s]+(@sha256:[a-f0-9]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$')",
                    "message": "must name a digest (@sha256:...) or a fixed tag; else the image can change unseen",
                },
                {
                    "rule": "!self.endsWith(':latest')",
                    "message": "must not use the tag latest, which moves; name a version, a commit or a digest",
                },
            ]
        },
    )

    @field_validator("image")
    @classmethod
    def _fixed(cls, image: str) -> str:
        reference = image.rsplit("/", 1)[-1]
        if "@sha256:" not in reference and (":" not in reference or reference.endswith(":latest")):
            raise ValueError(f"image {image!r} has neither a digest nor a fixed tag")
        return image


class Autoscaling(ApiModel):
    """How many pods carry all of the traffic, by how busy their processors are."""

    min_replicas: int = Field(default=1, ge=1, le=1000, description="Fewest pods that carry all of the traffic.")
    max_replicas: int = Field(ge=1, le=1000, description="Most pods that carry all of the traffic.")
    target_cpu_utilization: int = Field(
        default=70,
        ge=1,
        le=1000,
        alias="targetCPUUtilizationPercentage",
        description="Mean use of the processors that is aimed at, in percent of what the container requests.",
    )

    @model_validator(mode="after")
    def _some_room(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"minReplicas {self.min_replicas} is above maxReplicas {self.max_replicas}")
        return self


class Serving(ApiModel):
    """How the pods of every revision run."""

    replicas: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Pods that carry all of the traffic; with autoscaling, what to begin with.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="Scale stable with a HorizontalPodAutoscaler; needs requests.cpu in resources.",
        json_schema_extra=_rule("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"),
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port on which the container serves predictions.")
    resources: KubernetesObject = Field(default_factory=dict, description="Requests and limits of the container.")
    env: list[KubernetesObject] = Field(default_factory=list, max_length=100, description="Environment variables.")
    env_from: list[KubernetesObject] = Field(
        default_factory=list, max_length=20, description="Secrets and ConfigMaps read into the environment."
    )
    image_pull_secrets: list[KubernetesObject] = Field(
        default_factory=list, max_length=10, description="Secrets for the image registry, by name."
    )

    @model_validator(mode="after")
    def _measurable(self) -> Serving:
        # What Kubernetes takes over as it is has no schema, so that no CEL rule can look into it.
        if self.autoscaling and "cpu" not in (self.resources.get("requests") or {}):
            raise ValueError("autoscaling is in percent of resources.requests.cpu, which is not given")
        return self


class IngressOptions(ApiModel):
    """Options of the router `Ingress`."""

    class_name: str = Field(default="nginx", min_length=1, max_length=253, description="IngressClass that serves it.")
    tls_secret_name: str | None = Field(
        default=None, min_length=1, max_length=253, description="Secret with the certificate; HTTPS when given."
    )
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations added to the primary Ingress.")


class Traffic(ApiModel):
    """Where the requests come from."""

    host: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        description="Host name of the requests.",
    )
    path: str = Field(default="/", pattern=r"^/", max_length=512, description="Path prefix of the requests.")
    router: Literal["Ingress"] = Field(
        default="Ingress", description="What shifts the traffic. An unknown name is refused; there is no fallback."
    )
    ingress: IngressOptions = Field(default_factory=IngressOptions)


class Step(ApiModel):
    """One stop on the way to all of the traffic: a share of it, or copies of a share before the first one."""

    model_config = ConfigDict(
        json_schema_extra=_rule(
            "has(self.shadow) != (self.weight > 0)", "a step has either a weight of at least 1 or a shadow"
        )
    )

    weight: int = Field(default=0, ge=0, le=100, description="Share of the requests for the canary, in percent.")
    shadow: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Instead of a weight: share of the requests whose copies the canary gets, in percent. "
        "Stable answers all of them; what the canary answers is recorded and compared.",
    )
    min_duration: Duration = Field(default="0s", description="Shortest stay, however good the evidence.")
    approval: bool = Field(default=False, description="Wait for a person before this step starts.")

    _min_duration = field_validator("min_duration")(_check_duration)

    @model_validator(mode="after")
    def _one_of_two(self) -> Step:
        if (self.weight > 0) == (self.shadow is not None):
            raise ValueError("a step has either a weight of at least 1 or a shadow")
        return self


class Rollout(ApiModel):
    """The steps and the patience of a release."""

    steps: list[Step] = Field(
        default_factory=lambda: [Step(weight=5), Step(weight=25), Step(weight=50), Step(weight=100)],
        min_length=1,
        max_length=20,
        description="Weights of the canary, rising, after at most one shadow; 100 is added when it is missing.",
        json_schema_extra=_rule(
            "self.map(s, s.weight).isSorted() && self.map(s, s.weight).all(w, self.exists_one(s, s.weight == w))",
            "weights must rise from step to step, and a shadow can only be the first step",
        ),
    )
    interval: Duration = Field(default="10s", description="Time between two judgements of the canary.")
    ready_timeout: Duration = Field(default="10m", description="How long a revision may take to become ready.")
    hold_timeout: Duration = Field(
        default="2h", description="How long a step may wait for evidence before the release pauses at weight 0."
    )
    on_failure: Literal["Rollback", "Pause"] = Field(
        default="Rollback", description="After a failed check: remove the canary, or keep it without traffic."
    )
    scale_down_delay: Duration = Field(default="5m", description="How long a replaced revision stays warm.")
    history_limit: int = Field(default=5, ge=0, le=50, description="Replaced revisions kept at 0 pods.")

    _durations = field_validator("interval", "ready_timeout", "hold_timeout", "scale_down_delay")(_check_duration)

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: list[Step]) -> list[Step]:
        weights = [step.weight for step in steps]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise ValueError(f"weights must rise, and a shadow can only be the first step; got weights {weights}")
        return steps


class RatioCheck(ApiModel):
    """Rare failures of the canary against those of stable, over the same time."""

    max_ratio: float = Field(
        default=2.0,
        ge=1.25,
        le=1000,
        description="How many times stable's failures a canary may have and go on; more than half of it, and more "
        "than stable's, rolls back when it is certain.",
    )
    max_harm: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="Share of all requests that may fail through the canary; tolerated also beyond maxRatio.",
    )


class ErrorRateCheck(RatioCheck):
    """5xx answers."""

    shared_incident: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Error share of stable from which nothing good is concluded of the canary.",
    )


class InferenceFailuresCheck(RatioCheck):
    """Requests that the model could not answer."""


class LatencyCheck(ApiModel):
    """Durations of the canary against those of stable, over the whole histogram."""

    max_slower: float = Field(
        default=1.25,
        gt=1,
        le=100,
        description="Factor by which a canary may be slower and still go on; beyond a third of the way to it, when "
        "that is certain, it is rolled back.",
    )


class PredictionDriftCheck(ApiModel):
    """Shares of the predicted classes, canary against stable over the same requests' time."""

    max_shift: float = Field(
        default=0.15,
        gt=0,
        lt=1,
        description="Difference of any class's share with which a canary may go on; beyond a third of it, when that is "
        "certain, it is rolled back.",
    )


class AccuracyCheck(ApiModel):
    """Answers that later labels called wrong, canary against stable."""

    max_drop: float = Field(
        default=0.02, gt=0, lt=1, description="Accuracy that a canary may lose and still go on, as a fraction."
    )


# Names in the status that no custom check can have, or one entry would be two.
_OUR_CHECKS = (
    *("errorRate", "inferenceFailures", "latency", "predictionDrift", "accuracy"),
    *("trafficSplit", "featureDrift", "agreement", "copies"),
)


class CustomCheck(ApiModel):
    """A PromQL query with a bound. It knows no statistics: a breach is a breach, so many of them in a row fail."""

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z][A-Za-z0-9]*$", description="Name of the check.")
    query: str = Field(min_length=1, max_length=4096, description="PromQL that yields one number for the canary.")
    min: float | None = Field(default=None, description="Smallest value that is fine.")
    max: float | None = Field(default=None, description="Largest value that is fine.")
    breaches: int = Field(default=3, ge=1, le=100, description="Breaches in a row that roll the canary back.")
    no_data: Literal["Hold", "Ignore", "Fail"] = Field(
        default="Hold",
        description="What an answer without a number means: wait, nothing at all, or a breach.",
    )


class Checks(ApiModel):
    """Which checks gate a release; one that is left out is on with defaults, except accuracy, which needs labels."""

    error_rate: ErrorRateCheck = Field(default_factory=ErrorRateCheck)
    inference_failures: InferenceFailuresCheck = Field(default_factory=InferenceFailuresCheck)
    latency: LatencyCheck = Field(default_factory=LatencyCheck)
    prediction_drift: PredictionDriftCheck = Field(default_factory=PredictionDriftCheck)
    accuracy: AccuracyCheck | None = Field(default=None)
    custom: list[CustomCheck] = Field(
        default_factory=list,
        max_length=10,
        json_schema_extra=_rule(
            "self.all(c, self.exists_one(d, d.name == c.name) && (has(c.min) || has(c.max)) && "
            f"!(c.name in {list(_OUR_CHECKS)}))",
            "each custom check needs a name of its own and a min or a max",
        ),
    )


class Analysis(ApiModel):
    """How sure to be."""

    false_rollback: float = Field(
        default=0.01, gt=0, lt=0.5, description="Chance of ever rolling back a canary that is no worse (alpha)."
    )
    missed_regression: float = Field(
        default=0.05, gt=0, lt=0.5, description="Chance of promoting one that is worse than tolerated (beta)."
    )
    checks: Checks = Field(default_factory=Checks)


class ReleaseSpec(ApiModel):
    """The desired state of one served model."""

    model: Model
    serving: Serving = Field(default_factory=Serving)
    traffic: Traffic
    rollout: Rollout = Field(default_factory=Rollout)
    analysis: Analysis = Field(default_factory=Analysis)
    paused: bool = Field(default=False, description="Take no step forward. Failing checks still take traffic away.")

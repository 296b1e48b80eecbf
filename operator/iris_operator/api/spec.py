"""`spec`: what the user wants. The operator reads it and never writes it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from iris_operator.api.base import ApiModel
from iris_operator.api.checks import Analysis
from iris_operator.api.fields import CEL, Duration, Interval, cel_rule, cel_rules, check_duration
from iris_operator.api.names import GROUP
from iris_operator.api.pod_fields import Environment, EnvironmentSources, PullSecrets, Resources


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
    def _require_fixed_tag(cls, image: str) -> str:
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
    def _require_min_below_max(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"minReplicas {self.min_replicas} is above maxReplicas {self.max_replicas}")
        return self


class Serving(ApiModel):
    """How the pods of every revision run."""

    model_config = ConfigDict(
        json_schema_extra=cel_rule(
            "!has(self.autoscaling) || (has(self.resources) && has(self.resources.requests) && "
            "'cpu' in self.resources.requests)",
            "autoscaling is in percent of resources.requests.cpu: give that, or take out autoscaling",
        )
    )

    replicas: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Pods that carry all of the traffic; with autoscaling, what to begin with.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="Scale stable with a HorizontalPodAutoscaler; needs requests.cpu in resources.",
        json_schema_extra=cel_rule("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"),
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port on which the container serves predictions.")
    resources: Resources = Field(default_factory=dict, description="Requests and limits of the container.")
    env: Environment = Field(default_factory=list, max_length=100, description="Environment variables.")
    env_from: EnvironmentSources = Field(
        default_factory=list, max_length=20, description="Secrets and ConfigMaps read into the environment."
    )
    image_pull_secrets: PullSecrets = Field(
        default_factory=list, max_length=10, description="Secrets for the image registry, by name."
    )

    @model_validator(mode="after")
    def _require_cpu_request(self) -> Serving:
        if self.autoscaling and "cpu" not in (self.resources.get("requests") or {}):
            raise ValueError("autoscaling is in percent of resources.requests.cpu, which is not given")
        return self


_NAME_OF_AN_OBJECT = cel_rule(
    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
    "must be the name of an object: lower-case letters, digits, - and ., with a letter or digit at both ends",
)


class IngressOptions(ApiModel):
    """Options of the router `Ingress`."""

    class_name: str = Field(
        default="nginx",
        min_length=1,
        max_length=253,
        description="IngressClass that serves it.",
        json_schema_extra=_NAME_OF_AN_OBJECT,
    )
    tls_secret_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Secret with the certificate; HTTPS when given.",
        json_schema_extra=_NAME_OF_AN_OBJECT,
    )
    annotations: dict[str, Annotated[str, Field(json_schema_extra={"maxLength": 8192})]] = Field(
        default_factory=dict,
        description="Annotations added to the primary Ingress.",
        json_schema_extra={
            # Kubernetes allows 256 KiB of annotations on an object.
            "maxProperties": 30,
            **cel_rules(
                (
                    (
                        "self.all(name, name.size() <= 317 && "
                        "name.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'))"
                    ),
                    "each name must be one of an annotation, such as example.com/timeout",
                ),
                (
                    (
                        "self.all(name, !name.startsWith('nginx.ingress.kubernetes.io/canary') && "
                        f"!name.startsWith('{GROUP}/'))"
                    ),
                    f"nginx.ingress.kubernetes.io/canary... and {GROUP}/... are the operator's: take them out",
                ),
            ),
        },
    )


class Traffic(ApiModel):
    """Where the requests come from."""

    host: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        description="Host name of the requests.",
        json_schema_extra=cel_rule(
            r"!self.matches('^[0-9]+([.][0-9]+){3}$')", "must be a host name; an Ingress takes no IP address"
        ),
    )
    path: str = Field(
        default="/",
        pattern=r"^/",
        max_length=512,
        description="Path prefix of the requests.",
        # What the API server refuses in an Ingress, and what Ingress controllers refuse beside it.
        json_schema_extra=cel_rules(
            (
                "self.matches('^/[A-Za-z0-9._~%:@!$&,;=+*()/-]*$')",
                "must be a path such as /v1/iris: letters, digits and ._~%:@!$&,;=+*()-, and no spaces",
            ),
            (
                (
                    "!self.contains('//') && !self.contains('/./') && !self.contains('/../') && "
                    "!self.endsWith('/.') && !self.endsWith('/..') && !self.contains('%2f') && !self.contains('%2F')"
                ),
                "must not contain //, /./, /../ or %2f: write the path that they lead to",
            ),
        ),
    )
    router: Literal["Ingress"] = Field(
        default="Ingress", description="What shifts the traffic. An unknown name is refused; there is no fallback."
    )
    ingress: IngressOptions = Field(default_factory=IngressOptions)


class Step(ApiModel):
    """One stop on the way to all of the traffic: a share of it, or copies of a share before the first one."""

    model_config = ConfigDict(
        json_schema_extra=cel_rule(
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

    _min_duration = field_validator("min_duration")(check_duration)

    @model_validator(mode="after")
    def _require_weight_or_shadow(self) -> Step:
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
        json_schema_extra=cel_rule(
            "self.map(s, s.weight).isSorted() && self.map(s, s.weight).all(w, self.exists_one(s, s.weight == w))",
            "weights must rise from step to step, and a shadow can only be the first step",
        ),
    )
    interval: Interval = Field(default="10s", description="Time between two judgements of the canary.")
    warm_up: Duration = Field(
        default="30s", description="What a pod answers in its first seconds is no evidence about durations."
    )
    watch: Duration = Field(
        default="10m",
        description="How long a promoted version is judged against what the one before was like; a failure goes back.",
    )
    rollback_window: int = Field(
        default=3,
        ge=0,
        le=50,
        description="A version among so many that were promoted last goes back without steps, as soon as it is ready.",
    )
    ready_timeout: Duration = Field(default="10m", description="How long a revision may take to become ready.")
    hold_timeout: Duration = Field(
        default="2h", description="How long a step may wait for evidence before the release pauses at weight 0."
    )
    on_failure: Literal["Rollback", "Pause"] = Field(
        default="Rollback", description="After a failed check: remove the canary, or keep it without traffic."
    )
    scale_down_delay: Duration = Field(default="5m", description="How long a replaced revision stays warm.")
    history_limit: int = Field(default=5, ge=0, le=50, description="Replaced revisions kept at 0 pods.")

    _durations = field_validator("interval", "warm_up", "watch", "ready_timeout", "hold_timeout", "scale_down_delay")(
        check_duration
    )

    @field_validator("steps")
    @classmethod
    def _require_rising_weights(cls, steps: list[Step]) -> list[Step]:
        weights = [step.weight for step in steps]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise ValueError(f"weights must rise, and a shadow can only be the first step; got weights {weights}")
        return steps


class ReleaseSpec(ApiModel):
    """The desired state of one served model."""

    model: Model
    serving: Serving = Field(default_factory=Serving)
    traffic: Traffic
    rollout: Rollout = Field(default_factory=Rollout)
    analysis: Analysis = Field(default_factory=Analysis)
    paused: bool = Field(default=False, description="Take no step forward. Failing checks still take traffic away.")

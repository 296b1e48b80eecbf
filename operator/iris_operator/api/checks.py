"""`spec.analysis`: which checks gate a release, and with which margins.

A field named `max...` of an evidence check is a margin: `iris-analysis replay` has an option for it.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ConfigDict, Field, field_validator

from iris_operator.api.base import ApiModel
from iris_operator.api.fields import Duration, cel_rule, check_duration


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
        default=0.01,
        gt=0,
        lt=1,
        description="Share of all requests that may fail through the canary; tolerated also beyond maxRatio. Before "
        "the last step three times as much.",
    )


class ErrorRateCheck(RatioCheck):
    """5xx answers."""

    shared_incident: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Error share of stable from which nothing good is concluded of the canary.",
    )


class ClientErrorsCheck(RatioCheck):
    """4xx answers: requests that stable would have answered."""

    max_harm: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Share of all requests that the canary may refuse; tolerated also beyond maxRatio.",
    )


class InferenceFailuresCheck(RatioCheck):
    """Requests that the model could not answer."""


class LatencyObjective(ApiModel):
    """A share of the requests that must be answered within a time."""

    share: float = Field(gt=0, lt=1, description="Share of the requests, as a fraction.")
    under: Duration = Field(description="The time; a bound of the histogram, or the next bound below is taken.")

    _under = field_validator("under")(check_duration)


class LatencyCheck(ApiModel):
    """Durations of the canary against those of the control group: the mean, and the whole histogram.

    A canary is slower only when it is so by more than the factor and by more than the difference.
    """

    max_slower: float = Field(
        default=1.25,
        gt=1,
        le=100,
        description="Factor by which a canary may be slower and still go on; beyond a third of the way to it, when "
        "that is certain, it is rolled back.",
    )
    min_difference: Duration = Field(
        default="5ms", description="Slower by no more than this is not slower, whatever the factor: nobody notices it."
    )
    objective: LatencyObjective | None = Field(
        default=None, description="A canary that misses it, where stable does not, is rolled back."
    )

    _min_difference = field_validator("min_difference")(check_duration)


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


class CustomCheck(ApiModel):
    """A PromQL query with a bound. It knows no statistics: a breach is a breach, so many of them in a row fail."""

    model_config = ConfigDict(
        json_schema_extra=cel_rule(
            "!has(self.min) || !has(self.max) || self.min <= self.max", "min must not be above max: no value is fine"
        )
    )

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z][A-Za-z0-9]*$", description="Name of the check.")
    query: str = Field(min_length=1, max_length=4096, description="PromQL that yields one number for the canary.")
    min: float | None = Field(default=None, ge=-1e300, le=1e300, description="Smallest value that is fine.")
    max: float | None = Field(default=None, ge=-1e300, le=1e300, description="Largest value that is fine.")
    breaches: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Breaches in a row that roll the canary back; the query is asked at least every 5 s.",
    )
    no_data: Literal["Hold", "Ignore", "Fail"] = Field(
        default="Hold",
        description="What an answer without a number means: wait, nothing at all, or a breach.",
    )


class EvidenceChecks(ApiModel):
    """The checks that compare canary and stable by e-values; one field each, whose alias is the check's name."""

    error_rate: ErrorRateCheck = Field(default_factory=ErrorRateCheck)
    client_errors: ClientErrorsCheck = Field(default_factory=ClientErrorsCheck)
    inference_failures: InferenceFailuresCheck = Field(default_factory=InferenceFailuresCheck)
    latency: LatencyCheck = Field(default_factory=LatencyCheck)
    prediction_drift: PredictionDriftCheck = Field(default_factory=PredictionDriftCheck)
    accuracy: AccuracyCheck | None = Field(default=None)


# Checks without a field of their own: they have no setting, or it is a part of another check's.
LATENCY_OBJECTIVE = "latencyObjective"
TRAFFIC_SPLIT = "trafficSplit"
FEATURE_DRIFT = "featureDrift"
AGREEMENT = "agreement"
SHADOW_TRAFFIC = "copies"

RESERVED_NAMES: Final = (
    *(field.alias or name for name, field in EvidenceChecks.model_fields.items()),
    *(LATENCY_OBJECTIVE, TRAFFIC_SPLIT, FEATURE_DRIFT, AGREEMENT, SHADOW_TRAFFIC),
)
"""Names in the status that no custom check may have, or one entry would be two."""


class Checks(EvidenceChecks):
    """Which checks gate a release; one that is left out is on with defaults, except accuracy, which needs labels."""

    custom: list[CustomCheck] = Field(
        default_factory=list,
        max_length=10,
        json_schema_extra=cel_rule(
            "self.all(c, self.exists_one(d, d.name == c.name) && (has(c.min) || has(c.max)) && "
            f"!(c.name in {list(RESERVED_NAMES)}))",
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
    control: Literal["Pods", "Stable"] = Field(
        default="Pods",
        description="What the canary is compared with: fresh pods of stable's revision beside it, as many as its own, "
        "or stable's pods as they are, whose load, age and caches differ.",
    )
    checks: Checks = Field(default_factory=Checks)

"""The requests and responses of the HTTP API. These types are both the OpenAPI document and the validation.

Numbers are strict: text, true, NaN and Infinity are not lengths, and neither is a number out of the model's range.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

FEATURES: Final = ("sepal_length", "sepal_width", "petal_length", "petal_width")
MAX_INSTANCES: Final = 256
MAX_LENGTH_CM: Final = 1e6
REQUEST_ID_PATTERN: Final = r"^[A-Za-z0-9._:-]{1,128}$"

Length = Annotated[
    float,
    Field(strict=True, allow_inf_nan=False, ge=-MAX_LENGTH_CM, le=MAX_LENGTH_CM, description="centimetres"),
]


def _to_integer(value: Any) -> Any:
    """JSON has one kind of number: 2.0 is the integer 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Must follow the Field with the bounds: before it, it would hide them from the OpenAPI document.
ALLOW_INTEGRAL_FLOAT: Final = BeforeValidator(_to_integer)
RequestId = Annotated[str, StringConstraints(strict=True, pattern=REQUEST_ID_PATTERN)]


class _StrictModel(BaseModel):
    """Refuses unknown fields: a misspelt name must not be ignored silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Measurements(_StrictModel):
    """One flower, its four lengths by name, in centimetres."""

    sepal_length: Length
    sepal_width: Length
    petal_length: Length
    petal_width: Length


Vector = Annotated[
    tuple[Length, Length, Length, Length],
    Field(description="One flower: sepal length, sepal width, petal length, petal width, in centimetres."),
]


# The form of an instance, or of a tensor of them, decides how it is validated, so that an error is about the form that
# was used.
ARRAY_FORM: Final = "<array>"
NAMED_FORM: Final = "<named>"
FLAT_FORM: Final = "<flat>"
ROWS_FORM: Final = "<rows>"
FORMS: Final = frozenset({ARRAY_FORM, NAMED_FORM, FLAT_FORM, ROWS_FORM})


def _form(value: Any) -> str:
    return NAMED_FORM if isinstance(value, dict | Measurements) else ARRAY_FORM


InstanceIn = Annotated[
    Annotated[Vector, Tag(ARRAY_FORM)] | Annotated[Measurements, Tag(NAMED_FORM)],
    Discriminator(_form),
]


class PredictRequest(_StrictModel):
    """One or many flowers, each an array of four lengths or an object with the four names."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"instances": [[5.1, 3.5, 1.4, 0.2]]},
                {"instances": [{"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}]},
            ]
        }
    )

    instances: Annotated[list[InstanceIn], Field(min_length=1, max_length=MAX_INSTANCES)]

    def vectors(self) -> list[tuple[float, ...]]:
        """The instances as tuples in the order of FEATURES."""
        return [
            instance
            if isinstance(instance, tuple)
            else (instance.sepal_length, instance.sepal_width, instance.petal_length, instance.petal_width)
            for instance in self.instances
        ]


class ModelIdentity(BaseModel):
    """Which model answered, and in which revision of the release."""

    name: str
    version: str
    revision: str


class PredictionOut(BaseModel):
    """The predicted class by name and by index, and the probability of each class."""

    model_config = ConfigDict(serialize_by_alias=True)

    label: str
    class_index: Annotated[int, Field(alias="class", ge=0)]
    probabilities: dict[str, float]


class PredictResponse(BaseModel):
    """One prediction for each instance, in the order of the request."""

    request_id: str
    model: ModelIdentity
    predictions: list[PredictionOut]


class FeedbackRequest(_StrictModel):
    """The true label of one predicted flower, sent when it is known."""

    request_id: RequestId
    instance: Annotated[int, Field(strict=True, ge=0, lt=MAX_INSTANCES), ALLOW_INTEGRAL_FLOAT] = 0
    label: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]


class FeedbackResponse(BaseModel):
    """Whether the prediction was right."""

    request_id: str
    instance: int
    outcome: Literal["correct", "incorrect"]


class Health(BaseModel):
    """The state of this pod in one word."""

    status: str


class FieldProblem(BaseModel):
    """One thing that is wrong with a request, and where."""

    location: list[str | int]
    message: str


class Problem(BaseModel):
    """An error as RFC 9457 describes it (application/problem+json)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldProblem] | None = None
    error: Annotated[str | None, Field(description="the detail again, in answers under /v2")] = None

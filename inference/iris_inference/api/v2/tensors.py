"""The messages of the Open Inference Protocol, version 2: tensors in JSON, or as bytes after the JSON.

One input tensor, `features`, has a row for each instance. The three outputs have the content of `/v1/predict`: `class`,
`label` and `probabilities`. FP32 is exactly the type of the model's input.
"""

import struct
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StringConstraints, Tag, TypeAdapter
from pydantic.config import JsonDict

from iris_inference.api.schemas import (
    ALLOW_INTEGRAL_FLOAT,
    FEATURES,
    FLAT_FORM,
    MAX_INSTANCES,
    MAX_LENGTH_CM,
    ROWS_FORM,
    Length,
    Vector,
)
from iris_inference.errors import ProblemError
from iris_inference.model.prediction import Prediction, classes_of, probabilities_of
from iris_inference.model.runtime import Instance

WIDTH: Final = len(FEATURES)
INPUT: Final = "features"
OutputName = Literal["class", "label", "probabilities"]
OUTPUTS: Final[tuple[OutputName, ...]] = ("class", "label", "probabilities")
DATATYPES: Final[dict[OutputName, str]] = {"class": "INT64", "label": "BYTES", "probabilities": "FP32"}


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _form(value: Any) -> str:
    nested = isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple)
    return ROWS_FORM if nested else FLAT_FORM


TensorData = Annotated[
    Annotated[list[Length], Field(min_length=WIDTH, max_length=MAX_INSTANCES * WIDTH), Tag(FLAT_FORM)]
    | Annotated[list[Vector], Field(min_length=1, max_length=MAX_INSTANCES), Tag(ROWS_FORM)],
    Discriminator(_form),
]


TENSOR_DATA: Final[TypeAdapter[Any]] = TypeAdapter(TensorData)


class InputParameters(_StrictModel):
    """How large the tensor is behind the JSON, in bytes; without it the tensor is in `data`."""

    binary_data_size: Annotated[int, Field(strict=True, ge=1), ALLOW_INTEGRAL_FLOAT] | None = None


def _describe_json(schema: JsonDict) -> None:
    """Describe the JSON form, where data is required. JSON Schema cannot describe the binary form."""
    schema["required"] = ["name", "shape", "datatype", "data"]
    properties = schema["properties"]
    if isinstance(properties, dict):
        properties["data"] = TENSOR_DATA.json_schema()
        properties["parameters"] = {"type": "object", "maxProperties": 0, "description": "binary_data_size, see above"}


class InputTensor(_StrictModel):
    """The flowers: a row of four lengths in centimetres each, in the order of `/v1/predict`.

    `shape` is `[flowers, 4]` and must fit `data`, which is flat or a row for each flower. In a binary request there is
    no `data`: `parameters.binary_data_size` says how many bytes behind the JSON are the tensor, little-endian FP32.
    """

    model_config = ConfigDict(json_schema_extra=_describe_json)

    name: Literal["features"]
    shape: tuple[
        Annotated[int, Field(strict=True, ge=1, le=MAX_INSTANCES), ALLOW_INTEGRAL_FLOAT],
        Annotated[int, Field(strict=True, ge=WIDTH, le=WIDTH), ALLOW_INTEGRAL_FLOAT],
    ]
    datatype: Literal["FP32"]
    parameters: InputParameters = InputParameters()
    data: TensorData | None = None


class OutputParameters(_StrictModel):
    """Whether the tensor is to follow as bytes behind the JSON."""

    binary_data: StrictBool | None = None


class RequestedOutput(_StrictModel):
    """A tensor that is wanted in the answer."""

    name: OutputName
    parameters: OutputParameters = OutputParameters()


class InferParameters(BaseModel):
    """Of the parameters that a client may send along, only this one means something here."""

    model_config = ConfigDict(extra="allow", frozen=True)

    binary_data_output: Annotated[StrictBool, Field(description="all outputs as bytes behind the JSON")] = False


class InferRequest(_StrictModel):
    """Flowers as a tensor. `id` comes back; `outputs` says which tensors are wanted, all of them when it is missing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": [{"name": INPUT, "shape": [1, WIDTH], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}
            ]
        }
    )

    id: Annotated[str, StringConstraints(strict=True, max_length=1_024)] | None = None
    parameters: InferParameters = InferParameters()
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[RequestedOutput], Field(max_length=len(OUTPUTS))] = []

    def requested_outputs(self) -> list[tuple[OutputName, bool]]:
        """The outputs of the response, each with whether it is to be binary."""
        default = self.parameters.binary_data_output
        if not self.outputs:
            return [(name, default) for name in OUTPUTS]
        own = [(output.name, output.parameters.binary_data) for output in self.outputs]
        return [(name, default if binary is None else binary) for name, binary in own]


class OutputTensor(BaseModel):
    """One output: `data` is flat; a binary one has `parameters.binary_data_size` instead."""

    name: OutputName
    datatype: Literal["INT64", "BYTES", "FP32"]
    shape: list[int]
    data: list[int | float | str] | None = None
    parameters: dict[str, int] | None = None


class InferResponseParameters(BaseModel):
    """The id under which the predictions are recorded; `/v1/feedback` takes it."""

    request_id: str


class InferResponse(BaseModel):
    """The outputs, a row for each flower."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: InferResponseParameters
    outputs: list[OutputTensor]


def parse_instances(tensor: InputTensor, binary: bytes | None) -> list[Instance]:
    """The instances of a request; `binary` is what follows the JSON, None when nothing may.

    Raises ProblemError 422 when data and shape do not fit, or a value is not a length.
    """
    size = tensor.parameters.binary_data_size
    if size is None:
        if tensor.data is None or binary:
            raise _invalid("inputs.0: data or parameters.binary_data_size must say where the tensor is")
        values = np.array(tensor.data, dtype=np.float32).reshape(-1)
    else:
        if tensor.data is not None or binary is None or len(binary) != size:
            raise _invalid(
                f"inputs.0: parameters.binary_data_size promises {size} bytes behind the JSON and no data in it, "
                f"but there are {len(binary or b'')}; Inference-Header-Content-Length says where the JSON ends"
            )
        values = _from_bytes(binary)
    if values.size != tensor.shape[0] * WIDTH:
        raise _invalid(f"inputs.0: shape {list(tensor.shape)} does not fit the {values.size} values that were sent")
    rows: list[list[float]] = values.reshape(-1, WIDTH).tolist()
    return [tuple(row) for row in rows]


def _from_bytes(binary: bytes) -> "np.ndarray[Any, np.dtype[np.float32]]":
    if len(binary) % 4:
        raise _invalid(f"inputs.0: {len(binary)} bytes are no whole number of FP32 values")
    values = np.frombuffer(binary, dtype="<f4")
    # NaN fails this comparison, too.
    if not np.all(np.abs(values) <= MAX_LENGTH_CM):
        raise _invalid(f"inputs.0: a value is not finite or beyond {MAX_LENGTH_CM:g} cm")
    return values


def render_outputs(
    requested: Sequence[tuple[OutputName, bool]], predictions: Sequence[Prediction], classes: Sequence[str]
) -> tuple[list[dict[str, Any]], bytes]:
    """The requested tensors, and the bytes of the binary ones in the same order."""
    rendered: list[dict[str, Any]] = []
    binary_parts: list[bytes] = []
    for name, binary in requested:
        values = _values(name, predictions, classes)
        shape = [len(predictions), len(classes)] if name == "probabilities" else [len(predictions)]
        tensor: dict[str, Any] = {"name": name, "datatype": DATATYPES[name], "shape": shape}
        if binary:
            binary_parts.append(_to_bytes(name, values))
            tensor["parameters"] = {"binary_data_size": len(binary_parts[-1])}
        else:
            tensor["data"] = values
        rendered.append(tensor)
    return rendered, b"".join(binary_parts)


def _values(name: OutputName, predictions: Sequence[Prediction], classes: Sequence[str]) -> list[Any]:
    if name == "class":
        return classes_of(predictions)
    if name == "label":
        return [classes[class_index] for class_index in classes_of(predictions)]
    probabilities: list[float] = probabilities_of(predictions).ravel().tolist()
    return probabilities


def _to_bytes(name: OutputName, values: list[Any]) -> bytes:
    if name == "class":
        return np.array(values, dtype="<i8").tobytes()
    if name == "probabilities":
        return np.array(values, dtype="<f4").tobytes()
    texts = [text.encode() for text in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _invalid(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail)

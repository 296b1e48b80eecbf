"""The model file and its manifest: reads both and rejects a file that does not match its manifest.

Nothing here parses the model. Only bytes whose digest matches are returned, and they are the bytes that were hashed, so
a file that is replaced in between has no effect. A required signature covers the bytes of the manifest, and through the
digest those of the model; it is verified before the manifest is parsed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from iris_inference.model.signature import SIGNATURE_BYTES, is_signed_by_any
from iris_inference.public_keys import PublicKey

MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"
SIGNATURE_FILE: Final = "manifest.sig"
MAX_MODEL_BYTES: Final = 512 * 1024 * 1024
MAX_MANIFEST_BYTES: Final = 1024 * 1024
# The first field of every ONNX file is the version of the format. Pickles, archives and the like start differently.
_ONNX_PREFIX: Final = b"\x08"
# How ONNX encodes the location of external data, which the digest would not cover.
_EXTERNAL_DATA: Final = b"\x0a\x08location\x12"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=128)]


class ArtifactError(Exception):
    """The model cannot be served. The message names the problem, the file and the remedy."""


class Distribution(BaseModel):
    """A histogram of one feature in the training data: `counts` of values up to each bound, and above the last one."""

    model_config = ConfigDict(frozen=True, strict=True)

    # Each bin is a series in the metrics of every pod.
    bounds: Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(min_length=1, max_length=20)]
    counts: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _check_bins(self) -> Self:
        if any(later <= earlier for earlier, later in pairwise(self.bounds)):
            raise ValueError("the bounds are not strictly increasing")
        if len(self.counts) != len(self.bounds) + 1 or not sum(self.counts):
            raise ValueError("counts need one value per bound and one above the last bound, and must not all be 0")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """The fraction of all values in each bin."""
        total = sum(self.counts)
        return tuple(count / total for count in self.counts)


class Training(BaseModel):
    """The distributions of the training data by feature; may be empty."""

    model_config = ConfigDict(frozen=True, strict=True)

    features: Mapping[Name, Distribution] = Field(default_factory=dict)


class Manifest(BaseModel):
    """The metadata that the training wrote for a model. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: Name
    version: Name
    features: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1_000)]
    classes: Annotated[tuple[Name, ...], Field(min_length=2, max_length=1_000)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=1, le=MAX_MODEL_BYTES)]
    training: Training = Field(default_factory=Training)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest and the bytes of the model, whose digest is the manifest's."""

    manifest: Manifest
    model: bytes


def read_manifest(folder: Path, trusted: Sequence[PublicKey] = ()) -> Manifest:
    """Read and validate `manifest.json`. Raises ArtifactError when it is missing, too large or invalid.

    With `trusted` keys it is also raised when `manifest.sig` is missing or is not a valid signature of the file by one
    of them; the manifest is not parsed then.
    """
    path = folder / MANIFEST_FILE
    content = _read(path, MAX_MANIFEST_BYTES)
    if trusted:
        _check_signature(folder, content, trusted)
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()[:5])
        raise ArtifactError(f"{path} is no model manifest: {problems}. Export the model again.") from None


def read_artifact(folder: Path, manifest: Manifest) -> Artifact:
    """Read `model.onnx`. Raises ArtifactError, with both digests, when its digest is not the manifest's."""
    path = folder / MODEL_FILE
    model = _read(path, MAX_MODEL_BYTES)
    actual = hashlib.sha256(model).hexdigest()
    if actual != manifest.sha256:
        raise ArtifactError(
            f"{path} is not the file that {MANIFEST_FILE} describes: expected sha256 {manifest.sha256} "
            f"({manifest.size_bytes} bytes), found sha256 {actual} ({len(model)} bytes). "
            f"The file was damaged or replaced after the export; build the image of version {manifest.version} again."
        )
    if not model.startswith(_ONNX_PREFIX):
        raise ArtifactError(
            f"{path} is no ONNX model: it begins with {model[:8]!r}. It was not opened. "
            "Pickles, archives and other formats are never loaded; export the model to ONNX."
        )
    if _EXTERNAL_DATA in model:
        raise ArtifactError(
            f"{path} keeps data in other files, which no digest covers. It was not opened. "
            "Export the model into one file."
        )
    return Artifact(manifest, model)


def _check_signature(folder: Path, manifest: bytes, trusted: Sequence[PublicKey]) -> None:
    path = folder / SIGNATURE_FILE
    remedy = "sign it where it was exported, with `python -m iris_training sign`, and build its image again"
    if not path.exists():
        raise ArtifactError(
            f"{path} is missing: the model is not signed, and IRIS_MODEL_PUBLIC_KEYS asks for a signature. "
            f"If you trust the model, {remedy}; to serve unsigned models, unset the variable."
        )
    signature = _read(path, MAX_MANIFEST_BYTES)
    if len(signature) != SIGNATURE_BYTES:
        raise ArtifactError(
            f"{path} is no Ed25519 signature: it has {len(signature)} bytes instead of {SIGNATURE_BYTES}. "
            f"If you trust the model, {remedy}."
        )
    if not is_signed_by_any(trusted, manifest, signature):
        raise ArtifactError(
            f"{path} is no signature of {folder / MANIFEST_FILE}, whose sha256 is "
            f"{hashlib.sha256(manifest).hexdigest()}, by {' or '.join(trusted)}. Either the manifest was changed after "
            "it was signed, or another key signed it; signing prints the sha256 and the key. Nothing of it was parsed. "
            f"If you trust the model, {remedy}, or add the key that signed it to IRIS_MODEL_PUBLIC_KEYS."
        )


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte more than allowed, so that files that grow or report a wrong size are detected as well.
            content = file.read(limit + 1)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}. Is IRIS_MODEL_DIR right?") from None
    if len(content) > limit:
        raise ArtifactError(f"{path} is larger than {limit} bytes, the most that is loaded")
    return content

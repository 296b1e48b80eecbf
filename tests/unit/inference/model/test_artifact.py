import gzip
import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest

from iris_inference.model.artifact import ArtifactError, read_artifact, read_manifest
from support.inference import graphs

MODEL = b"\x08the bytes of a model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(MODEL)
    write_manifest(tmp_path)
    return tmp_path


def write_manifest(folder: Path, **changes: Any) -> None:
    manifest = {
        "name": "iris",
        "version": "1.0.0",
        "features": ["petal_length"],
        "classes": ["setosa", "virginica"],
        "sha256": hashlib.sha256(MODEL).hexdigest(),
        "size_bytes": len(MODEL),
        "training": {"recipe": "1.0.0"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def test_the_returned_bytes_are_the_hashed_ones(folder: Path) -> None:
    assert read_artifact(folder, read_manifest(folder)).model == MODEL


@pytest.mark.parametrize(
    "content", [MODEL[:-1], MODEL + b"\0", b"", MODEL.replace(b"t", b"u", 1)], ids=["cut", "longer", "empty", "flipped"]
)
def test_other_bytes_are_rejected_with_both_digests_and_the_remedy(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"build the image of version 1\.0\.0 again") as refusal:
        read_artifact(folder, read_manifest(folder))
    assert hashlib.sha256(MODEL).hexdigest() in str(refusal.value)
    assert hashlib.sha256(content).hexdigest() in str(refusal.value)


VALID = {"bounds": [1, 2.5], "counts": [0, 3, 1]}


def test_a_manifest_may_have_the_distribution_of_the_training_data(folder: Path) -> None:
    assert not read_manifest(folder).training.features
    write_manifest(folder, training={"recipe": "1.0.0", "features": {"petal_length": VALID}})
    assert read_manifest(folder).training.features["petal_length"].shares == (0, 0.75, 0.25)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bounds": [2.5, 1]},
        {"bounds": [1, 1]},
        {"bounds": [], "counts": [4]},
        {"counts": [1, 2]},
        {"counts": [0, 0, 0]},
        {"counts": [1, -1, 1]},
        {"bounds": [1, "2"]},
        {"bounds": [1, float("inf")]},
        {"bounds": list(range(21)), "counts": [1] * 22},
    ],
    ids=str,
)
def test_an_impossible_distribution_is_rejected(folder: Path, wrong: dict[str, Any]) -> None:
    write_manifest(folder, training={"features": {"petal_length": VALID | wrong}})
    with pytest.raises(ArtifactError, match=r"is no model manifest: training\.features\.petal_length"):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        read_artifact(folder, read_manifest(folder))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../iris"),
        ("version", ""),
        ("version", "1.0\r\nSet-Cookie: a=b"),
        ("features", []),
        ("features", "petal_length"),
        ("classes", ["one"]),
        ("sha256", "abc"),
        ("size_bytes", 10**12),
        ("size_bytes", "20"),
    ],
)
def test_an_invalid_field_of_the_manifest_is_named(folder: Path, field: str, value: Any) -> None:
    write_manifest(folder, **{field: value})
    with pytest.raises(ArtifactError, match=rf"manifest\.json is no model manifest: {field}"):
        read_manifest(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_an_invalid_manifest_is_rejected(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError, match="is no model manifest: document"):
        read_manifest(folder)


def test_an_endless_manifest_is_read_only_up_to_a_limit(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to("/dev/zero")
    with pytest.raises(ArtifactError, match="larger than"):
        read_manifest(folder)


def test_other_formats_than_onnx_are_rejected_unparsed_although_the_digest_matches(folder: Path) -> None:
    """Seen to fail without the check of the first byte."""
    zip_bomb = io.BytesIO()
    with zipfile.ZipFile(zip_bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../model.onnx", bytes(50_000_000))
    for content in (pickle.dumps(MODEL), zip_bomb.getvalue(), gzip.compress(MODEL), b"GGUF", b"{}", b"\x89HDF"):
        (folder / "model.onnx").write_bytes(content)
        write_manifest(folder, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        with pytest.raises(ArtifactError, match=r"is no ONNX model.*not opened"):
            read_artifact(folder, read_manifest(folder))


@pytest.mark.parametrize("place", ["../../../etc/passwd", "/etc/passwd", "weights.bin"])
def test_a_model_with_external_data_is_rejected_unparsed(folder: Path, place: str) -> None:
    """Seen to fail without the search for external data."""
    model = onnx.load_from_string(graphs.linear([[1.0, 0.0, 0.0]] * 4))
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=place)
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    write_manifest(folder, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    with pytest.raises(ArtifactError, match=r"keeps data in other files.*not opened"):
        read_artifact(folder, read_manifest(folder))

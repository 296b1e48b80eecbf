import hashlib
import json
import tarfile
from pathlib import Path

from iris_local import archive


def _blob(folder: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    (folder / digest).write_bytes(content)
    return f"sha256:{digest}"


def _image(folder: Path) -> tuple[str, list[str]]:
    config = _blob(folder, b"config")
    layers = [_blob(folder, b"shared"), _blob(folder, b"own")]
    manifest = {"config": {"digest": config}, "layers": [{"digest": layer} for layer in [*layers, layers[0]]]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return config, layers


def _content(packed: tarfile.TarFile, name: str) -> bytes:
    member = packed.extractfile(name)
    assert member is not None
    return member.read()


def test_existing_layers_are_not_packed(tmp_path: Path) -> None:
    config, (shared, own) = _image(tmp_path)
    packed = tmp_path / "image.tar"
    archive.pack(tmp_path, "localhost/iris:1", {shared}, packed)
    with tarfile.open(packed) as found:
        index = json.loads(_content(found, "index.json"))
        names = set(found.getnames())
    (entry,) = index["manifests"]
    blobs = {f"blobs/{digest.replace(':', '/')}" for digest in (entry["digest"], config, own)}
    assert names == {"oci-layout", "index.json", *blobs}


def test_the_index_names_the_image_and_describes_its_manifest(tmp_path: Path) -> None:
    _image(tmp_path)
    packed = tmp_path / "image.tar"
    archive.pack(tmp_path, "localhost/iris:1", set(), packed)
    manifest = (tmp_path / "manifest.json").read_bytes()
    with tarfile.open(packed) as found:
        (entry,) = json.loads(_content(found, "index.json"))["manifests"]
        assert _content(found, f"blobs/{entry['digest'].replace(':', '/')}") == manifest
    assert entry["size"] == len(manifest)
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "localhost/iris:1"}


def test_a_layer_that_an_image_has_twice_is_packed_once() -> None:
    manifest = {"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:a"}, {"digest": "sha256:a"}]}
    assert archive.blob_digests(manifest) == ["sha256:c", "sha256:a"]

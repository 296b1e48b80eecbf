"""Packs an image for containerd as an OCI archive, without the layers that containerd has already.

The project's images share all but a few hundred kilobytes; packing and unpacking the shared part again for each of
them would take most of the loading time.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Container
from pathlib import Path
from typing import Any

_REFERENCE = "org.opencontainers.image.ref.name"


def pack(image: Path, name: str, present: Container[str], archive: Path) -> None:
    """Writes the archive.

    Args:
        image: a folder as buildah's transport `dir` writes it, in the format `oci`.
        name: the name of the image.
        present: the digests (`sha256:...`) of the blobs that containerd has already.
        archive: the file to write.
    """
    manifest = (image / "manifest.json").read_bytes()
    digest = _digest(manifest)
    with tarfile.open(archive, "w") as sink:
        _add(sink, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(sink, "index.json", json.dumps(_index(name, digest, len(manifest))).encode())
        _add(sink, _blob_path(digest), manifest)
        for part in blob_digests(json.loads(manifest)):
            if part not in present:
                sink.add(image / part.removeprefix("sha256:"), _blob_path(part))


def blob_digests(manifest: dict[str, Any]) -> list[str]:
    """The digests of a manifest's blobs: its configuration and its layers, each once."""
    return list(dict.fromkeys(part["digest"] for part in [manifest["config"], *manifest["layers"]]))


def _index(name: str, digest: str, size: int) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": size,
                "annotations": {_REFERENCE: name},
            }
        ],
    }


def _add(sink: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    sink.addfile(entry, io.BytesIO(content))


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"

"""The size of our image, when the local cluster has built it from the current sources."""

import io
import json
import re
from dataclasses import dataclass
from typing import Final

from bench.inference.servers import MODEL_VERSION
from iris_local import catalog
from iris_local.errors import LocalClusterError
from iris_local.images import Image, ImageStore
from iris_local.paths import Paths, cache_root
from iris_local.progress import Progress

# As buildah writes sizes: in powers of a thousand.
_UNITS: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZE: Final = re.compile(r"([0-9.]+) ?([kMG]?B)")


@dataclass(frozen=True, slots=True)
class ImageSize:
    """The image's unpacked size in bytes, or why it is unknown."""

    size: float | None
    note: str


def image_size() -> ImageSize:
    """Look up the size in the storage that `make images` builds into. Builds nothing."""
    image = next(image for image in catalog.inference_images() if image.name.endswith(f":{MODEL_VERSION}"))
    try:
        store = ImageStore(Paths(cache_root()), Progress(io.StringIO()))
        listed = store.buildah("images", "--json", "--no-trunc")
    except LocalClusterError:
        return ImageSize(None, "not built; make images")
    return find(listed, image)


def find(listed: str, image: Image) -> ImageSize:
    """The size of an image in buildah's list, by the name that includes the hash of its inputs."""
    for row in json.loads(listed or "[]") or []:
        if image.keyed_name in (row.get("names") or []):
            return ImageSize(in_bytes(row["size"]), image.name)
    return ImageSize(None, "not built; make images")


def in_bytes(size: str) -> float:
    """Read a size such as `312 MB`. Raises ValueError."""
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ValueError(f"{size!r} is not a size")
    return float(match[1]) * _UNITS[match[2]]

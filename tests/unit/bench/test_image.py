"""The size of the image in buildah's list."""

import json

import pytest

from bench.inference.image import find, in_bytes
from iris_local import catalog

IMAGE = catalog.inference_images()[0]


def listed(*names: str) -> str:
    return json.dumps([{"id": "1", "names": None, "size": "9 GB"}, {"id": "2", "names": [*names], "size": "312 MB"}])


def test_the_image_of_the_current_sources_is_found() -> None:
    assert find(listed(IMAGE.name, IMAGE.keyed_name), IMAGE).size == 312_000_000


@pytest.mark.parametrize("output", ["", "[]", "null", listed(IMAGE.name, f"{IMAGE.name}.inputs-0123456789ab")])
def test_an_image_of_other_sources_is_not_found(output: str) -> None:
    found = find(output, IMAGE)
    assert found.size is None
    assert "not built" in found.note


def test_sizes_are_read_as_buildah_writes_them() -> None:
    assert [in_bytes(size) for size in ("740 B", "1.5 kB", "312 MB", "1.02 GB")] == [740, 1_500, 312e6, 1.02e9]
    with pytest.raises(ValueError, match="not a size"):
        in_bytes("312 MiB")

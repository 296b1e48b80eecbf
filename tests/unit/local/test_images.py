import dataclasses
from pathlib import Path

import pytest

import iris_operator
from iris_local import catalog, images, node
from iris_local.components import COMPONENTS
from iris_local.images import Image
from iris_training.recipes import RECIPES


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.py").write_text("print(1)\n")
    return Image("localhost/it:1", tmp_path / "Containerfile", tmp_path, 1, (tmp_path / "source",))


def test_the_key_changes_with_the_recipe_the_inputs_and_the_arguments(image: Image) -> None:
    keys = [image.key, dataclasses.replace(image, arguments=(("MODEL", "2"),)).key]
    (image.inputs[0] / "main.py").write_text("print(2)\n")
    keys.append(image.key)
    (image.inputs[0] / "main.py").rename(image.inputs[0] / "other.py")
    keys.append(image.key)
    image.containerfile.write_text("FROM scratch\nUSER 1\n")
    keys.append(image.key)
    assert len(set(keys)) == len(keys)


def test_the_base_image_is_part_of_the_key(image: Image) -> None:
    assert dataclasses.replace(image, base="example.com/python:3.11").key != image.key


def test_labels_have_the_provenance_of_an_image() -> None:
    for image in catalog.project_images():
        labels = dict(image.arguments)
        assert {"REVISION", "CREATED", "SOURCE"} <= labels.keys()
        declared = image.containerfile.read_text()
        assert [name for name in labels if f"ARG {name}" not in declared] == []


def test_the_operators_version_is_its_packages() -> None:
    assert dict(catalog.operator_image().arguments)["VERSION"] == iris_operator.__version__


def test_caches_of_tools_do_not_change_the_key(image: Image) -> None:
    before = image.key
    cache = image.inputs[0] / "__pycache__"
    cache.mkdir()
    (cache / "main.cpython-311.pyc").write_bytes(b"x")
    assert image.key == before


def test_a_keyed_name_is_the_name_with_the_key(image: Image) -> None:
    assert image.keyed_name == f"localhost/it:1.inputs-{image.key}"


def test_only_earlier_builds_of_the_same_image_are_outdated() -> None:
    names = ["localhost/it:1", "localhost/it:1.inputs-a", "localhost/it:1.inputs-b", "localhost/it:2.inputs-a"]
    assert images.outdated(names, "localhost/it:1.inputs-b") == ["localhost/it:1.inputs-a"]


def test_an_image_of_a_program_is_keyed_by_its_build(tmp_path: Path) -> None:
    builds = [{"coredns": tmp_path / f"coredns-{key}"} for key in ("aaa", "bbb")]
    (one,), (other,) = (catalog.program_images(build) for build in builds)
    assert one.name == other.name == f"localhost/coredns:{COMPONENTS['coredns'].version}"
    assert one.key != other.key


def test_every_program_image_has_a_recipe(tmp_path: Path) -> None:
    built = catalog.program_images({name: tmp_path / f"{name}-key" for name in COMPONENTS})
    assert [image.name for image in built if not image.containerfile.exists()] == []
    assert node.PAUSE_IMAGE in [image.name for image in built]


def test_the_operators_tag_follows_its_sources() -> None:
    operator = catalog.operator_image()
    assert operator.name == f"{catalog.OPERATOR}:{operator.key}"


def test_there_is_an_image_for_each_model_version() -> None:
    built = catalog.inference_images()
    assert [image.name for image in built] == [f"{catalog.INFERENCE}:{version}" for version in catalog.MODELS]
    assert len({image.key for image in built}) == len(built)


def test_each_model_version_has_a_recipe_of_the_same_name() -> None:
    assert set(catalog.MODELS) == set(RECIPES)


def test_a_faulty_version_is_built_after_and_again_with_the_good_one_below_it() -> None:
    names = [image.keyed_name for image in catalog.project_images()]
    for image in catalog.faulty_images():
        assert names.index(image.base) < names.index(image.keyed_name)
        assert image.key != dataclasses.replace(image, base="localhost/iris-inference:2.0.0.inputs-other").key

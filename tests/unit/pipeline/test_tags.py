import dataclasses
from pathlib import Path

import pytest

from iris_local.images import Image
from iris_pipeline.errors import PipelineError
from iris_pipeline.tags import tag_of, validated

COMMIT = "44ccd040b8e6c1e3f7b5e1b1a7c0d2f4e6a8b0c2"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    return Image("localhost/it:1", tmp_path / "Containerfile", tmp_path, 1, ())


def labelled(image: Image, **labels: str) -> Image:
    return dataclasses.replace(image, arguments=tuple(labels.items()))


def test_an_image_is_named_by_its_commit(image: Image) -> None:
    assert tag_of(labelled(image, REVISION=COMMIT)) == "44ccd040b8e6"


def test_a_models_image_is_named_by_its_version_too(image: Image) -> None:
    assert tag_of(labelled(image, REVISION=COMMIT, MODEL_VERSION="2.0.0")) == "2.0.0-44ccd040b8e6"
    assert tag_of(labelled(image, REVISION=COMMIT, MODEL_VERSION="2.0.0"), "rc1") == "2.0.0-rc1"


def test_two_states_of_a_working_copy_have_two_names(image: Image) -> None:
    modified = labelled(image, REVISION=f"{COMMIT}-modified")
    before = tag_of(modified)
    image.containerfile.write_text("FROM scratch\nUSER 1\n")
    assert before.startswith("44ccd040b8e6-modified-")
    assert tag_of(modified).startswith("44ccd040b8e6-modified-")
    assert tag_of(modified) != before


def test_without_a_repository_the_inputs_are_the_name(image: Image) -> None:
    unknown = labelled(image, REVISION="unknown")
    assert tag_of(unknown) == unknown.key


def test_a_given_tag_is_used(image: Image) -> None:
    assert tag_of(labelled(image, REVISION=COMMIT), "1.2.0") == "1.2.0"


@pytest.mark.parametrize("model", [{}, {"MODEL_VERSION": "2.0.0"}])
def test_latest_is_refused(image: Image, model: dict[str, str]) -> None:
    with pytest.raises(PipelineError, match="latest is refused: it moves"):
        tag_of(labelled(image, REVISION=COMMIT, **model), "latest")


@pytest.mark.parametrize("tag", ["", "a b", "-x", "x" * 129, "a/b", "$(id)", "a:b"])
def test_an_invalid_tag_is_rejected_before_anything_is_built(tag: str) -> None:
    with pytest.raises(PipelineError, match="cannot be a tag"):
        validated(tag)

"""Real images, small ones, by the real builder into the real registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_local.errors import CommandError
from iris_local.images import Image, ImageStore
from iris_local.paths import Paths
from iris_local.progress import Progress
from iris_local.registry import RegistryAccess
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import RegistryClient
from iris_pipeline.publish import Publisher

CONTAINERFILE = """\
FROM scratch
COPY text /text
ARG REVISION
LABEL org.opencontainers.image.revision="${REVISION}"
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageStore]:
    store = ImageStore(Paths(tmp_path_factory.mktemp("builds")), Progress())
    yield store
    store.buildah("rm", "--all")
    store.buildah("rmi", "--all", "--force")


@pytest.fixture
def image(tmp_path: Path, request: pytest.FixtureRequest) -> Image:
    """An image of its own for every test, in a repository of its own."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "text").write_text("one")
    (tmp_path / "Containerfile").write_text(CONTAINERFILE)
    name = f"localhost/{request.node.name.removeprefix('test_')[:40].strip('_')}:1"
    return Image(name, tmp_path / "Containerfile", context, 1, (context,), (("REVISION", "c" * 40),), base="")


@pytest.fixture
def publisher(store: ImageStore, access: RegistryAccess, tmp_path: Path) -> Publisher:
    return Publisher(store, RegistryClient(access), tmp_path / "lists", print)


def repository(image: Image) -> str:
    return image.name.rpartition("/")[2].partition(":")[0]


def test_a_published_image_is_found_by_its_digest(publisher: Publisher, image: Image, access: RegistryAccess) -> None:
    publisher.store.ensure(image)
    (published,) = publisher.publish([image])
    found = publisher.registry.find(repository(image), published.digest)
    assert found is not None
    assert found.digest == published.digest
    assert published.reference == f"{access.address}/{repository(image)}@{published.digest}"
    assert published.sbom.exists()


def test_publishing_again_pushes_nothing_and_returns_the_same(publisher: Publisher, image: Image) -> None:
    publisher.store.ensure(image)
    assert publisher.publish([image]) == publisher.publish([image])


def test_other_content_needs_another_tag(publisher: Publisher, image: Image) -> None:
    publisher.store.ensure(image)
    (first,) = publisher.publish([image])
    (image.context / "text").write_text("two")
    publisher.store.ensure(image)
    with pytest.raises(PipelineError, match=f"exists with other content .{first.digest}"):
        publisher.publish([image])
    (second,) = publisher.publish([image], "rc1")
    assert second.digest != first.digest


def test_a_direct_push_to_an_existing_tag_is_rejected_with_a_message(
    publisher: Publisher, image: Image, access: RegistryAccess, tmp_path: Path
) -> None:
    publisher.store.ensure(image)
    (first,) = publisher.publish([image])
    (image.context / "text").write_text("two")
    publisher.store.ensure(image)
    credentials = tmp_path / "auth.json"
    credentials.write_text(access.auth_file())
    options = (f"--authfile={credentials}", f"--cert-dir={access.ca_dir}")
    for tag, why in ((first.tag, f"is {first.digest} and stays it"), ("latest", "the tag latest is refused")):
        target = f"docker://{access.address}/{repository(image)}:{tag}"
        with pytest.raises(CommandError, match=why):
            publisher.store.buildah("push", *options, image.keyed_name, target)


def test_an_image_from_the_same_files_is_the_same_image(store: ImageStore, image: Image, tmp_path: Path) -> None:
    names = ("localhost/same:1", "localhost/same:2")
    for name in names:
        store.build(image, [name], tmp_path / "log", cached=False)
        # A file that was written later is another one to everybody but us.
        (image.context / "text").write_text("one")
    assert store.names()[names[0]] == store.names()[names[1]]

import base64
import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iris_local.images import Image, ImageStore
from iris_local.registry import RegistryAccess
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import RegistryClient, RemoteImage
from iris_pipeline.publish import Publisher

IDENTITY, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
DIGEST = f"sha256:{'d' * 64}"
ACCESS = RegistryAccess("registry.example.com/team", "iris", "a-secret-word", Path("/trust"))


class Builds(ImageStore):
    """Buildah's storage with one image, and a record of the commands it got."""

    def __init__(self, root: Path) -> None:
        self.root, self.commands, self.credentials = root, list[list[str]](), ""
        self.identity = IDENTITY

    def names(self) -> dict[str, str]:
        return {f"localhost/iris-operator:1.inputs-{self.key}": self.identity}

    def sizes(self) -> dict[str, str]:
        return dict.fromkeys(self.names(), "201 MB")

    def buildah(self, *arguments: str | Path, log: Path | None = None) -> str:
        assert log is None
        self.commands.append([str(argument) for argument in arguments])
        options = dict(str(part).split("=", 1) for part in arguments if "=" in str(part))
        self.credentials = Path(options["--authfile"]).read_text()
        Path(options["--digestfile"]).write_text(f"{DIGEST}\n")
        return ""

    @contextmanager
    def mounted(self, image: Image) -> Iterator[Path]:
        assert image.keyed_name in self.names()
        yield self.root

    key = ""


class Remote(RegistryClient):
    """A registry with one repository."""

    def __init__(self, **tags: RemoteImage) -> None:
        super().__init__(dataclasses.replace(ACCESS, ca_dir=None))
        self.access, self.tags = ACCESS, tags

    def find(self, name: str, reference: str) -> RemoteImage | None:
        assert name == "iris-operator"
        return self.tags.get(reference)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    return Image("localhost/iris-operator:1", tmp_path / "Containerfile", tmp_path, 1, (), (("REVISION", "c" * 40),))


@pytest.fixture
def builds(tmp_path: Path, image: Image) -> Builds:
    builds = Builds(tmp_path)
    builds.key = image.key
    return builds


def publisher(builds: Builds, remote: Remote, tmp_path: Path) -> tuple[Publisher, list[str]]:
    messages: list[str] = []
    return Publisher(builds, remote, tmp_path / "lists", messages.append), messages


def test_a_new_image_is_pushed_and_known_by_its_digest(builds: Builds, image: Image, tmp_path: Path) -> None:
    working, messages = publisher(builds, Remote(), tmp_path)
    (published,) = working.publish([image])
    assert published.reference == f"registry.example.com/team/iris-operator@{DIGEST}"
    assert (published.tag, published.size) == ("c" * 12, "201 MB")
    assert builds.commands[0][-2:] == [image.keyed_name, f"docker://registry.example.com/team/iris-operator:{'c' * 12}"]
    assert "--cert-dir=/trust" in builds.commands[0]
    assert json.loads(published.sbom.read_text())["metadata"]["component"]["version"] == published.tag
    assert any(DIGEST in line and "201 MB" in line for line in messages)


def test_the_password_is_in_no_command_line(builds: Builds, image: Image, tmp_path: Path) -> None:
    publisher(builds, Remote(), tmp_path)[0].publish([image])
    assert "a-secret-word" not in str(builds.commands)
    (auth,) = json.loads(builds.credentials)["auths"].values()
    assert base64.b64decode(auth["auth"]).decode() == "iris:a-secret-word"


def test_an_existing_image_is_not_pushed_again(builds: Builds, image: Image, tmp_path: Path) -> None:
    remote = Remote(**{"c" * 12: RemoteImage(DIGEST, IDENTITY)})
    (published,) = publisher(builds, remote, tmp_path)[0].publish([image])
    assert published.digest == DIGEST
    assert builds.commands == []


def test_a_tag_that_exists_with_other_content_is_rejected(builds: Builds, image: Image, tmp_path: Path) -> None:
    remote = Remote(**{"1.0.0": RemoteImage(DIGEST, OTHER)})
    with pytest.raises(PipelineError, match=f"1.0.0 exists with other content .{DIGEST}"):
        publisher(builds, remote, tmp_path)[0].publish([image], "1.0.0")
    assert builds.commands == []


def test_files_that_change_after_the_build_are_detected(builds: Builds, image: Image, tmp_path: Path) -> None:
    image.containerfile.write_text("FROM scratch\nUSER 1\n")
    with pytest.raises(PipelineError, match="did they change meanwhile"):
        publisher(builds, Remote(), tmp_path)[0].publish([image])
    assert builds.commands == []


def test_latest_is_refused_before_anything_is_pushed(builds: Builds, image: Image, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="latest is refused"):
        publisher(builds, Remote(), tmp_path)[0].publish([image], "latest")
    assert builds.commands == []

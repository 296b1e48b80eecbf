"""What the images that the cluster runs are made of, and that they can be made again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from iris_local import catalog
from iris_local.images import FILE_TIME, Image, ImageStore
from iris_local.paths import CHECKOUT, Paths, cache_root
from iris_local.progress import Progress
from iris_pipeline import contents
from iris_pipeline.sbom import Subject, cyclonedx

STORE = ImageStore(Paths(cache_root()), Progress())
# Nothing in a running container may be able to build or install.
TOOLS = re.compile(r"(pip\d?[\d.]*|ensurepip|cc|gcc|g\+\+|c\+\+|clang|ld|as|make|easy_install.*|conda|uv)")
LARGEST_MB = 400


@pytest.fixture(
    scope="module", params=[catalog.operator_image(), catalog.inference_images()[1]], ids=["operator", "model"]
)
def image(request: pytest.FixtureRequest) -> Image:
    built: Image = request.param
    STORE.ensure_base()
    STORE.ensure(built)
    return built


@pytest.fixture(scope="module")
def root(image: Image) -> Iterator[Path]:
    with STORE.mounted(image) as mounted:
        yield mounted


def configuration(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(STORE.buildah("inspect", "--type=image", name))["OCIv1"]
    return parsed


def test_it_runs_as_a_numbered_user_that_is_not_root(image: Image) -> None:
    assert configuration(image.name)["config"]["User"] == "10001:10001"


def test_labels_have_the_version_and_the_source(image: Image) -> None:
    labels = configuration(image.name)["config"]["Labels"]
    annotations = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    arguments = dict(image.arguments)
    assert annotations["title"] == image.name.partition("/")[2].partition(":")[0]
    assert annotations["licenses"] == "Apache-2.0"
    assert annotations["version"] == arguments.get("VERSION", arguments.get("MODEL_VERSION"))
    assert (annotations["revision"], annotations["created"], annotations["source"]) == (
        arguments["REVISION"],
        arguments["CREATED"],
        arguments["SOURCE"],
    )


def test_an_image_contains_no_compiler_and_no_installer(root: Path) -> None:
    folders = [root / place for place in ("usr/bin", "usr/local/bin", "usr/sbin", "opt/venv/bin")]
    programs = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
    assert "python3" in programs
    assert [name for name in programs if TOOLS.fullmatch(name)] == []
    assert not [*root.glob("usr/lib/python3*/ensurepip"), *root.glob("usr/share/python-wheels/*")]


def test_no_file_of_an_image_is_setuid_or_setgid(root: Path) -> None:
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 1000
    assert [path for path in files if path.stat().st_mode & 0o6000] == []


def test_bytecode_does_not_depend_on_the_build_time(root: Path) -> None:
    compiled = [path for place in ("opt/venv/lib", "opt/iris") for path in (root / place).rglob("*.pyc")]
    assert len(compiled) > 500
    # The second word of the header: 1 is "checked by hash, and not looked at again".
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\x00\x00\x00"}


def test_file_times_do_not_depend_on_the_build_time(root: Path) -> None:
    ours = [path for place in ("opt", "usr/lib/python3") for path in (root / place).rglob("*")]
    assert {int(path.lstat().st_mtime) for path in ours} == {FILE_TIME}


def test_the_sbom_is_valid_and_has_every_locked_distribution(image: Image, root: Path) -> None:
    document = cyclonedx(Subject(image.name, "1", f"sha256:{'0' * 64}", "unknown"), contents.read(root))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None

    listed = {part["purl"] for part in json.loads(document)["components"] if "purl" in part}
    wanted = locked(CHECKOUT / ("operator" if "operator" in image.name else "inference") / "requirements.txt")
    assert len(wanted) > 10
    assert {f"pkg:pypi/{name}@{version}" for name, version in wanted} <= listed
    assert sum(purl.startswith("pkg:deb/debian/") for purl in listed) > 50
    assert any(purl.startswith("pkg:deb/debian/libssl3@") for purl in listed)


def locked(requirements: Path) -> set[tuple[str, str]]:
    """Name and version of every requirement that holds on this system."""
    lines = re.sub(r"\\\n", "", requirements.read_text()).splitlines()
    found = [Requirement(line.split(" --hash")[0].strip()) for line in lines if line.strip() and line[0] not in "#-"]
    pinned = [one for one in found if one.marker is None or one.marker.evaluate()]
    return {(canonicalize_name(one.name), str(one.specifier).removeprefix("==")) for one in pinned}


def test_the_images_stay_small() -> None:
    sizes = STORE.sizes()
    ours = {image.name: sizes.get(image.name) for image in catalog.project_images()}
    assert {name: size for name, size in ours.items() if size is None or megabytes(size) >= LARGEST_MB} == {}


def megabytes(size: str) -> float:
    number, unit = size.split()
    return float(number) * {"kB": 1e-3, "MB": 1.0, "GB": 1e3}[unit]


def test_a_build_without_cache_gives_the_same_image(tmp_path: Path) -> None:
    operator, again = catalog.operator_image(), "localhost/iris-again:1"
    STORE.ensure_base()
    STORE.ensure(operator)
    built = STORE.names()[operator.keyed_name]
    STORE.build(operator, [again], tmp_path / "log", cached=False)
    rebuilt = STORE.names()[again]
    # Takes the name away, and the image only where it is another one.
    STORE.buildah("rmi", again)
    assert rebuilt == built

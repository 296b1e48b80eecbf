"""Builds container images with buildah, once for each state of their inputs, into a separate storage."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from iris_local import archive, packages
from iris_local.commands import run
from iris_local.containers import Runtime
from iris_local.paths import LOCAL, Paths
from iris_local.progress import Progress

BASE = "localhost/python:3.11-slim-bookworm"
# Images of this name are built here; there is no registry to pull them from.
_BUILT_HERE = "localhost/"
# usr-is-merged declares that the folders are merged already, and avoids usrmerge, which needs Perl.
_BASE_PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates,usr-is-merged"
_MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")
# The time of every file of an image, in seconds since 1970: with the build time no two builds would have the same
# digest, and with a commit's time each commit would change all layers. 1980 is the earliest time in a zip file.
FILE_TIME = 315532800
_CERTIFICATES = Path("/etc/ssl/certs")
_IGNORED = ("__pycache__", ".venv", ".mypy_cache", ".ruff_cache")
_KEY_LENGTH = 12


@dataclass(frozen=True)
class Image:
    """An image to build: `inputs` are the files and folders that affect it, `expected` its build time in seconds.

    `base` is its base image, built here or pulled from a registry; empty where there is none.
    """

    name: str
    containerfile: Path
    context: Path
    expected: float
    inputs: tuple[Path, ...]
    arguments: tuple[tuple[str, str], ...] = ()
    build: str = ""
    base: str = BASE
    fetches_over_tls: bool = False

    @property
    def key(self) -> str:
        """A hash of everything that affects the image."""
        base = _BASE_PACKAGES if self.base == BASE else self.base
        digest = hashlib.sha256(repr((self.arguments, self.build, base)).encode())
        digest.update(self.containerfile.read_bytes())
        for path in self.inputs:
            digest.update(tree_hash(path).encode())
        return digest.hexdigest()[:_KEY_LENGTH]

    @property
    def keyed_name(self) -> str:
        """The second name of the image, which includes the hash of its inputs."""
        return keyed(self.name, self.key)


def keyed(name: str, key: str) -> str:
    """The name under which an image of these inputs is stored."""
    return f"{name}.inputs-{key}"


def outdated(names: Iterable[str], current: str) -> list[str]:
    """The keyed names of the same image that were built from other inputs than the current one."""
    stem = current.rpartition(".inputs-")[0] + ".inputs-"
    return sorted(name for name in set(names) if name.startswith(stem) and name != current)


def tree_hash(path: Path) -> str:
    """A hash of a file, or of the names and contents of all files in a folder; caches of tools are ignored."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        relative = file.relative_to(path)
        if not any(part in _IGNORED for part in relative.parts):
            digest.update(f"{relative}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def program_image(name: str, build: Path, *, expected: float = 4) -> Image:
    """An image with one static program; `build` is the folder of its component's build.

    That folder's name includes a hash of its inputs, so its contents need not be read.
    """
    component = build.name.rpartition("-")[0]
    containerfile = LOCAL / "images" / component / "Containerfile"
    return Image(name, containerfile, build, expected, inputs=(), build=build.name, base="")


def store_image(name: str, *, expected: float) -> Image:
    """PostgreSQL or Redis, from Debian's packages on our base image; `name` is `localhost/<folder>:<tag>`."""
    folder = LOCAL / "images" / name.rpartition("/")[2].partition(":")[0]
    return Image(name, folder / "Containerfile", folder, expected, inputs=(folder,))


@dataclass
class ImageStore:
    """Buildah's storage below the cache root, and the loading of its images into containerd."""

    paths: Paths
    progress: Progress

    def buildah(self, *arguments: str | Path, log: Path | None = None) -> str:
        """Runs buildah on our storage."""
        return run([*self.command, *arguments], log=log)

    @property
    def command(self) -> list[str | Path]:
        """The start of every buildah command line."""
        storage: list[str | Path] = ["--root", self.paths.buildah / "storage", "--runroot", self.paths.buildah / "run"]
        return [packages.find("buildah"), *storage, "--storage-driver", "overlay"]

    def names(self) -> dict[str, str]:
        """The id of every stored image, by name."""
        listed = json.loads(self.buildah("images", "--json", "--no-trunc") or "[]") or []
        return {name: image["id"] for image in listed for name in image.get("names") or []}

    def has(self, image: Image) -> bool:
        """Whether the image was built from the current inputs."""
        names = self.names()
        return image.keyed_name in names and names[image.keyed_name] == names.get(image.name)

    def ensure_base(self) -> None:
        """Builds the base image, a small Debian with Python, unless it exists."""
        current = keyed(BASE, hashlib.sha256(_BASE_PACKAGES.encode()).hexdigest()[:_KEY_LENGTH])
        names = self.names()
        if current in names and names[current] == names.get(BASE):
            return
        with self.progress.step(f"build the base image {BASE}", expected=60):
            tree = self.paths.build_scratch / "base.tar"
            tree.parent.mkdir(parents=True, exist_ok=True)
            lean = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")]
            run(
                [
                    packages.find("mmdebstrap"),
                    "--variant=minbase",
                    f"--hook-dir={_MERGED_USR}",
                    f"--include={_BASE_PACKAGES}",
                    *lean,
                    "bookworm",
                    tree,
                ],
                environment={"SOURCE_DATE_EPOCH": str(FILE_TIME)},
                log=self.paths.build_scratch / "base.log",
            )
            container = self.buildah("from", "scratch").strip()
            self.buildah("add", "--quiet", container, tree, "/")
            self.buildah("config", "--cmd", "python3", "--env", "LANG=C.UTF-8", container)
            self.buildah("commit", "--quiet", "--rm", f"--timestamp={FILE_TIME}", container, current)
            self.buildah("tag", current, BASE)
            tree.unlink()
        self._remove_outdated(current)

    def ensure(self, image: Image) -> None:
        """Builds an image unless it was built from the same inputs."""
        if self.has(image):
            return
        log = self.paths.build_scratch / f"image-{image.name.replace('/', '-').replace(':', '-')}.log"
        with self.progress.step(f"build the image {image.name}", expected=image.expected):
            self.build(image, [image.keyed_name, image.name], log)
        self._remove_outdated(image.keyed_name)

    def build(self, image: Image, names: Sequence[str], log: Path, *, cached: bool = True) -> None:
        """Builds an image, under these names; buildah's output goes into the file `log`."""
        arguments = [f"--build-arg={name}={value}" for name, value in image.arguments]
        base = [f"--build-arg=PYTHON_IMAGE={image.base}"] if image.base else []
        trusts = image.fetches_over_tls and _CERTIFICATES.exists()
        # A machine behind a TLS-intercepting proxy trusts it through its own certificates.
        certificates = ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"] if trusts else []
        self.buildah(
            "bud",
            "--isolation=chroot",
            "--network=host",
            # Always in layers: a single layer for all steps would be a different image.
            "--layers",
            *([] if cached else ["--no-cache"]),
            f"--timestamp={FILE_TIME}",
            "--pull-never" if not image.base or image.base.startswith(_BUILT_HERE) else "--pull",
            *certificates,
            *base,
            *arguments,
            *(f"--tag={name}" for name in names),
            "--file",
            image.containerfile,
            image.context,
            log=log,
        )

    def sizes(self) -> dict[str, str]:
        """The size of every stored image, by name, in human-readable form: 391 MB."""
        listed = json.loads(self.buildah("images", "--json") or "[]") or []
        return {name: image["size"] for image in listed for name in image.get("names") or []}

    @contextmanager
    def mounted(self, image: Image) -> Iterator[Path]:
        """The files of a stored image, mounted for the duration of the block."""
        container = self.buildah("from", "--pull-never", image.keyed_name).strip()
        try:
            yield Path(self.buildah("mount", container).strip())
        finally:
            self.buildah("rm", container)

    def load(self, images: Sequence[Image], runtime: Runtime) -> None:
        """Loads images into containerd, except those that it has already from the same inputs."""
        loaded = runtime.images()
        for image in images:
            if image.keyed_name in loaded and loaded[image.keyed_name] == loaded.get(image.name):
                continue
            with self.progress.step(f"load the image {image.name}", expected=5):
                self._load(image, runtime)
            runtime.remove_images(outdated(loaded, image.keyed_name))

    def _load(self, image: Image, runtime: Runtime) -> None:
        folder, packed = self.paths.build_scratch / "image", self.paths.build_scratch / "image.tar"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # Compressing would cost more time than the temporary disk space is worth.
        form = ("--quiet", "--disable-compression", "--format=oci")
        self.buildah("push", *form, image.keyed_name, f"dir:{folder}")
        archive.pack(folder, image.keyed_name, runtime.blobs(), packed)
        runtime.load(packed, [image.keyed_name, image.name])
        shutil.rmtree(folder)
        packed.unlink()

    def _remove_outdated(self, current: str) -> None:
        old = outdated(self.names(), current)
        if old:
            self.buildah("rmi", "--force", *old)

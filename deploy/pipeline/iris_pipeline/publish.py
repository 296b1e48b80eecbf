"""Pushes built images to a registry, each under an immutable tag, and writes an SBOM for each."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from iris_local.images import Image, ImageStore
from iris_pipeline import contents, sbom
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import RegistryClient
from iris_pipeline.tags import tag_of


@dataclass(frozen=True)
class PublishedImage:
    """An image in the registry. `size` is its size on disk in human-readable form: 391 MB."""

    name: str
    tag: str
    digest: str
    size: str
    sbom: Path

    @property
    def reference(self) -> str:
        """The image reference by digest."""
        return f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class Publisher:
    """Publishes images from the local store to a registry. `sbom_dir` is the folder for their SBOMs."""

    store: ImageStore
    registry: RegistryClient
    sbom_dir: Path
    log: Callable[[str], None]

    def publish(self, images: Sequence[Image], tag: str | None = None) -> list[PublishedImage]:
        """Publishes images that have been built.

        Args:
            images: the images to publish.
            tag: used in place of the commit's hash in their tags.

        Raises:
            PipelineError: a tag is invalid, or exists with another image.
        """
        tags = [tag_of(image, tag) for image in images]
        return [self._publish(image, chosen) for image, chosen in zip(images, tags, strict=True)]

    def _publish(self, image: Image, tag: str) -> PublishedImage:
        short = image.name.rpartition("/")[2].partition(":")[0]
        name = self.registry.repository(short)
        # Buildah identifies an image by the digest of its configuration.
        identity = self.store.names().get(image.keyed_name)
        if identity is None:
            raise PipelineError(f"{image.name} is not built from the current files: did they change meanwhile?")
        existing = self.registry.find(short, tag)
        if existing is None:
            digest = self._push(image, f"{name}:{tag}")
            self.log(f"pushed {name}:{tag}")
        elif existing.config_digest == identity:
            digest = existing.digest
            self.log(f"{name}:{tag} exists already")
        else:
            raise PipelineError(
                f"{name}:{tag} exists with other content ({existing.digest}), and tags are immutable. "
                "Commit what changed, or choose another TAG."
            )
        size = self.store.sizes()[image.keyed_name]
        sbom_path = self._write_sbom(image, name, tag, digest)
        self.log(f"{name}@{digest}  {size}")
        return PublishedImage(name, tag, digest, size, sbom_path)

    def _push(self, image: Image, target: str) -> str:
        access = self.registry.access
        with tempfile.TemporaryDirectory(prefix="iris-push-") as folder:
            # The folder is readable by its owner only; a command line is readable by everybody.
            credentials, digest = Path(folder) / "auth.json", Path(folder) / "digest"
            credentials.write_text(access.auth_file())
            trust = [f"--cert-dir={access.ca_dir}"] if access.ca_dir else []
            self.store.buildah(
                "push",
                "--quiet",
                "--format=oci",
                f"--authfile={credentials}",
                f"--digestfile={digest}",
                *trust,
                image.keyed_name,
                f"docker://{target}",
            )
            return digest.read_text().strip()

    def _write_sbom(self, image: Image, name: str, tag: str, digest: str) -> Path:
        created = dict(image.arguments).get("CREATED", "")
        with self.store.mounted(image) as root:
            document = sbom.cyclonedx(sbom.Subject(name, tag, digest, created), contents.read(root))
        path = self.sbom_dir / f"{name.rpartition('/')[2]}-{tag}.cdx.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document)
        return path

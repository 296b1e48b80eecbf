"""Builds images, lists what is in them, and pushes them to a registry, each under a tag that stays where it is."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from iris_local.images import Image, Store
from iris_pipeline import contents, sbom
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import Registry
from iris_pipeline.tags import tag_of


@dataclass(frozen=True)
class Published:
    """An image in the registry. `size` is what it takes on a disk, as people write it: 391 MB."""

    name: str
    tag: str
    digest: str
    size: str
    sbom: Path

    @property
    def reference(self) -> str:
        """How a pod asks for exactly this image."""
        return f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class Publisher:
    """Everything that publishing takes. `lists` is the folder for the lists of what is in the images."""

    store: Store
    registry: Registry
    lists: Path
    say: Callable[[str], None]

    def publish(self, images: Sequence[Image], tag: str | None = None) -> list[Published]:
        """Publishes images that are built.

        Args:
            images: which.
            tag: what takes the place of the commit's hash in their tags.

        Raises:
            PipelineError: a tag is refused, or there with another image.
        """
        tags = [tag_of(image, tag) for image in images]
        return [self._publish(image, chosen) for image, chosen in zip(images, tags, strict=True)]

    def _publish(self, image: Image, tag: str) -> Published:
        short = image.name.rpartition("/")[2].partition(":")[0]
        name = self.registry.repository(short)
        # An image is known to buildah by the digest of its configuration.
        identity = self.store.names().get(image.keyed_name)
        if identity is None:
            raise PipelineError(f"{image.name} is not built from the files as they are now: did they change meanwhile?")
        there = self.registry.find(short, tag)
        if there is None:
            digest = self._push(image, f"{name}:{tag}")
            self.say(f"pushed {name}:{tag}")
        elif there.configuration == identity:
            digest = there.digest
            self.say(f"{name}:{tag} is there already")
        else:
            raise PipelineError(
                f"{name}:{tag} is there with another content ({there.digest}), and a tag stays where it is. "
                "Commit what changed, or choose another TAG."
            )
        size = self.store.sizes()[image.keyed_name]
        listed = self._list(image, name, tag, digest)
        self.say(f"{name}@{digest}  {size}")
        return Published(name, tag, digest, size, listed)

    def _push(self, image: Image, target: str) -> str:
        access = self.registry.access
        with tempfile.TemporaryDirectory(prefix="iris-push-") as folder:
            # The folder is its owner's alone, and the password is nobody's business on a command line.
            credentials, digest = Path(folder) / "auth.json", Path(folder) / "digest"
            credentials.write_text(access.auth_file())
            trust = [f"--cert-dir={access.authority}"] if access.authority else []
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

    def _list(self, image: Image, name: str, tag: str, digest: str) -> Path:
        created = dict(image.arguments).get("CREATED", "")
        with self.store.mounted(image) as root:
            document = sbom.cyclonedx(sbom.Subject(name, tag, digest, created), contents.read(root))
        path = self.lists / f"{name.rpartition('/')[2]}-{tag}.cdx.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document)
        return path

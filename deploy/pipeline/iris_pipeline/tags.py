"""The tags under which images are published. A tag identifies the image's contents and never moves."""

import re

from iris_local.images import Image
from iris_local.provenance import UNKNOWN, Provenance
from iris_pipeline.errors import PipelineError

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def validated(tag: str) -> str:
    """The tag itself.

    Raises:
        PipelineError: it is `latest`, or not a valid tag.
    """
    if tag == "latest":
        raise PipelineError(
            "The tag latest is refused: it moves, and nobody could tell later what was running. "
            "Leave TAG out to have the commit's hash, or name a version."
        )
    if not _TAG.fullmatch(tag):
        raise PipelineError(f"{tag!r} cannot be a tag: letters, digits and _ . - only, 128 at most.")
    return tag


def tag_of(image: Image, requested: str | None = None) -> str:
    """The image's tag: the model's version, if it has one, and `requested` or the commit's short hash.

    When files differ from the commit, or there is none, the hash of the image's inputs is added: two states of one
    working copy are two images.
    """
    labels = dict(image.arguments)
    version, origin = labels.get("MODEL_VERSION"), Provenance(labels.get("REVISION", UNKNOWN))
    if requested is None:
        parts = [] if origin.revision == UNKNOWN else [origin.short]
        if origin.revision == UNKNOWN or origin.modified:
            parts.append(image.key)
        requested = "-".join(parts)
    return validated(f"{version}-{validated(requested)}" if version else requested)

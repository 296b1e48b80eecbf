"""The names under which images are published. A name says what is in the image, and never comes to mean another one."""

import re

from iris_local.images import Image
from iris_local.provenance import UNKNOWN, Provenance
from iris_pipeline.errors import PipelineError

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def checked(tag: str) -> str:
    """The tag itself.

    Raises:
        PipelineError: it is `latest`, or no tag that a registry would take.
    """
    if tag == "latest":
        raise PipelineError(
            "The tag latest is refused: it moves, and nobody could tell later what was running. "
            "Leave TAG out to have the commit's hash, or name a version."
        )
    if not _TAG.fullmatch(tag):
        raise PipelineError(f"{tag!r} cannot be a tag: letters, digits and _ . - only, 128 at most.")
    return tag


def tag_of(image: Image, wanted: str | None = None) -> str:
    """What the image is published as: the model's version, if it has one, and `wanted` or the commit's short hash.

    Files that differ from the commit, or are in none, are named by the hash of the image's inputs as well: two states
    of one working copy are two images.
    """
    labels = dict(image.arguments)
    version, origin = labels.get("MODEL_VERSION"), Provenance(labels.get("REVISION", UNKNOWN))
    if wanted is None:
        parts = [] if origin.revision == UNKNOWN else [origin.short]
        if origin.revision == UNKNOWN or origin.modified:
            parts.append(image.key)
        wanted = "-".join(parts)
    return checked(f"{version}-{checked(wanted)}" if version else wanted)

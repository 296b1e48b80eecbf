"""Which images there are: those that the cluster itself needs, and those of this project."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from iris_local import components, node, provenance
from iris_local.images import BASE, Image, program_image, store_image
from iris_local.paths import CHECKOUT, LOCAL

OPERATOR = "localhost/iris-operator"
INFERENCE = "localhost/iris-inference"
# The model versions of the demo and of the end-to-end tests. Each is defined by the recipe of the same name.
MODELS = ("1.0.0", "2.0.0", "3.0.0", "4.0.0", "5.0.0", "6.0.0", "6.1.0", "7.0.0", "8.0.0", "9.0.0")

# Tag, the good version below, the version that answers name (empty: the good one's) and arguments of the Containerfile.
FAULTY: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    # The demo's: slow for 20 s from its first request, as one that compiles or fills what it needs when it is asked.
    ("6.2.0", "6.0.0", "6.2.0", (("FIRST_SECONDS", "20"), ("FIRST_WORK_MS", "25"))),
    # The benchmark's: each release says in its environment what is wrong with it.
    ("2.0.0-faults", "2.0.0", "", ()),
)


def program_images(builds: Mapping[str, Path]) -> list[Image]:
    """The images that contain a single program, given the folder of each component's build."""
    names = {
        "pause": node.PAUSE_IMAGE,
        "coredns": f"localhost/coredns:{components.get('coredns').version}",
        "traefik": f"localhost/traefik:{components.get('traefik').version}",
        "registry": f"localhost/registry:{components.get('registry').version}",
        "prometheus": f"localhost/prometheus:v{components.get('prometheus').version}",
        "alertmanager": f"localhost/alertmanager:v{components.get('alertmanager').version}",
        "otelcol": f"localhost/otelcol:{components.get('otelcol').version}",
        "victorialogs": f"localhost/victorialogs:v{components.get('victorialogs').version}",
    }
    return [program_image(names[component], build) for component, build in builds.items() if component in names]


def store_images() -> list[Image]:
    """PostgreSQL and Redis."""
    return [store_image("localhost/postgres:15", expected=40), store_image("localhost/redis:7", expected=20)]


def operator_image(base: str = BASE) -> Image:
    """The operator; its tag is a hash of its sources, so that a changed one is rolled out."""
    containerfile = CHECKOUT / "Dockerfile.operator"
    inputs = (CHECKOUT / "operator" / "requirements.txt", CHECKOUT / "operator" / "iris_operator")
    arguments = (("VERSION", _operator_version()), *_provenance_arguments(containerfile, *inputs))
    untagged = Image(OPERATOR, containerfile, CHECKOUT, 60, inputs, arguments, base=base, fetches_over_tls=True)
    return replace(untagged, name=f"{OPERATOR}:{untagged.key}")


def inference_images(base: str = BASE) -> list[Image]:
    """The prediction service, once for each model version."""
    containerfile = CHECKOUT / "Dockerfile.inference"
    inputs = (CHECKOUT / "inference",)
    origin = _provenance_arguments(containerfile, *inputs)
    return [
        Image(
            f"{INFERENCE}:{version}",
            containerfile,
            CHECKOUT,
            # The first one installs what the others share.
            expected=90 if version == MODELS[0] else 15,
            inputs=inputs,
            arguments=(("MODEL_RECIPE", version), ("MODEL_VERSION", version), *origin),
            base=base,
            fetches_over_tls=True,
        )
        for version in MODELS
    ]


def faulty_images() -> list[Image]:
    """Versions whose fault is not in the model's training: each on top of the image of a good version."""
    folder = LOCAL / "images" / "faulty"
    origin = _provenance_arguments(folder)
    good = {dict(image.arguments)["MODEL_VERSION"]: image for image in inference_images()}
    return [
        Image(
            f"{INFERENCE}:{tag}",
            folder / "Containerfile",
            folder,
            expected=5,
            inputs=(folder,),
            arguments=(("MODEL_VERSION", version), *arguments, *origin),
            # By the name with the hash of its inputs, so that a change of the good version builds this one anew.
            base=good[base].keyed_name,
        )
        for tag, base, version, arguments in FAULTY
    ]


def project_images() -> list[Image]:
    """Everything that this project builds; an image comes after the one that it is based on."""
    return [operator_image(), *inference_images(), *faulty_images()]


def _provenance_arguments(*inputs: Path) -> tuple[tuple[str, str], ...]:
    origin = provenance.of(inputs)
    return (("REVISION", origin.revision), ("CREATED", origin.created), ("SOURCE", origin.source))


def _operator_version() -> str:
    # Parsed, not imported: this program runs before the operator's dependencies are installed.
    package = (CHECKOUT / "operator" / "iris_operator" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"$', package, re.MULTILINE)
    return found.group(1) if found else "0.0.0"

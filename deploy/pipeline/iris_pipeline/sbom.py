"""An image's SBOM, in CycloneDX. The same image gives the same bytes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from iris_pipeline.contents import Contents, DebianPackage, PythonDistribution


@dataclass(frozen=True)
class Subject:
    """The image that is described. `created` is its commit's time in UTC, as its label has it."""

    name: str
    tag: str
    digest: str
    created: str


def cyclonedx(subject: Subject, contents: Contents) -> str:
    """The document, in JSON of version 1.6 of the specification."""
    image = Component(
        name=subject.name,
        version=subject.tag,
        type=ComponentType.CONTAINER,
        bom_ref=f"{subject.name}@{subject.digest}",
        purl=PackageURL("oci", None, subject.name.rpartition("/")[2], subject.digest, {"tag": subject.tag}),
    )
    parts = [
        *_system(contents),
        *(_python(found) for found in contents.python),
        *(_debian(found, contents) for found in contents.debian),
    ]
    bom = Bom(
        # A random number or the current time would make every document different.
        serial_number=uuid5(NAMESPACE_URL, f"{subject.name}@{subject.digest}"),
        metadata=BomMetaData(
            component=image,
            timestamp=_moment(subject.created),
            tools=ToolRepository(components=[Component(name="iris_pipeline", type=ComponentType.APPLICATION)]),
        ),
        components=parts,
        dependencies=[Dependency(image.bom_ref, [Dependency(part.bom_ref) for part in parts])],
    )
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _python(found: PythonDistribution) -> Component:
    purl = PackageURL("pypi", None, found.name, found.version)
    licenses = [LicenseFactory().make_from_string(found.license)] if found.license else []
    return Component(name=found.name, version=found.version, bom_ref=str(purl), purl=purl, licenses=licenses)


def _debian(found: DebianPackage, contents: Contents) -> Component:
    system = contents.system
    qualifiers = {"arch": found.architecture}
    if "VERSION_CODENAME" in system:
        qualifiers["distro"] = system["VERSION_CODENAME"]
    if found.source:
        # Advisories are about source packages.
        qualifiers["upstream"] = found.source
    purl = PackageURL("deb", system.get("ID", "debian"), found.name, found.version, qualifiers)
    return Component(name=found.name, version=found.version, bom_ref=str(purl), purl=purl)


def _system(contents: Contents) -> list[Component]:
    found = []
    if name := contents.system.get("ID"):
        version = contents.system.get("VERSION_ID", "")
        found.append(
            Component(name=name, version=version, type=ComponentType.OPERATING_SYSTEM, bom_ref=f"os:{name}@{version}")
        )
    if contents.interpreter:
        purl = PackageURL("generic", None, "python", contents.interpreter)
        found.append(Component(name="python", version=contents.interpreter, bom_ref=str(purl), purl=purl))
    return found


def _moment(created: str) -> datetime:
    try:
        return datetime.fromisoformat(created)
    except ValueError:  # built outside of a repository
        return datetime.fromtimestamp(0, UTC)

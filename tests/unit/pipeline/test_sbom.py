import json

from cyclonedx.schema import SchemaVersion

from iris_pipeline.contents import Contents, DebianPackage, PythonDistribution
from iris_pipeline.sbom import Subject, cyclonedx

DIGEST = f"sha256:{'a' * 64}"
SUBJECT = Subject("registry.example.com/iris-operator", "44ccd040b8e6", DIGEST, "2026-01-02T01:04:05Z")
CONTENTS = Contents(
    {"ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm"},
    (PythonDistribution("jsonschema_rs", "0.60.3", "MIT"), PythonDistribution("odd", "1", "see the file LICENSE")),
    (DebianPackage("libc6", "2.36-9+deb12u13", "amd64", "glibc"),),
    "3.11.14",
)


def test_it_is_what_the_schema_asks_for() -> None:
    # Its import compiles grammars, for longer than a second, in every process that collects this file.
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 - see above

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(cyclonedx(SUBJECT, CONTENTS)) is None


def test_every_part_is_named_as_advisories_name_it() -> None:
    listed = json.loads(cyclonedx(SUBJECT, CONTENTS))
    assert {part.get("purl", part["name"]) for part in listed["components"]} == {
        "debian",
        "pkg:generic/python@3.11.14",
        "pkg:pypi/jsonschema-rs@0.60.3",
        "pkg:pypi/odd@1",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64&distro=bookworm&upstream=glibc",
    }


def test_it_says_which_image_it_is_about() -> None:
    about = json.loads(cyclonedx(SUBJECT, CONTENTS))["metadata"]
    assert about["component"]["bom-ref"] == f"{SUBJECT.name}@{DIGEST}"
    assert about["component"]["version"] == SUBJECT.tag
    assert about["timestamp"].startswith("2026-01-02T01:04:05")


def test_the_same_image_gives_the_same_bytes() -> None:
    assert cyclonedx(SUBJECT, CONTENTS) == cyclonedx(SUBJECT, CONTENTS)


def test_an_image_from_outside_of_a_repository_can_be_listed() -> None:
    unknown = Subject(SUBJECT.name, "1", DIGEST, "unknown")
    assert json.loads(cyclonedx(unknown, CONTENTS))["metadata"]["timestamp"].startswith("1970-01-01")

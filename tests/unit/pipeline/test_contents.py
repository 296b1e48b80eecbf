from pathlib import Path

import pytest

from iris_pipeline import contents
from iris_pipeline.contents import DebianPackage, PythonDistribution

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u13
Description: GNU C Library: Shared libraries
 Contains the standard libraries.

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib (1:1.2.13.dfsg-1)
Version: 1:1.2.13.dfsg-1+b1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image's files, as far as they are looked at."""
    site = "opt/venv/lib/python3.11/site-packages"
    files = {
        "var/lib/dpkg/status": STATUS,
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
        f"{site}/Kopf-1.44.dist-info/METADATA": "Name: Kopf\nVersion: 1.44\nLicense: MIT\n",
        f"{site}/long-1.0.dist-info/METADATA": f"Name: long\nVersion: 1.0\nLicense: {'x' * 99}\n",
        f"{site}/module.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_distribution_that_is_installed_is_listed_with_its_license(root: Path) -> None:
    assert contents.read(root).python == (PythonDistribution("Kopf", "1.44", "MIT"), PythonDistribution("long", "1.0"))


def test_packages_are_listed_with_their_sources_and_those_that_are_gone_are_not(root: Path) -> None:
    assert contents.read(root).debian == (
        DebianPackage("libc6", "2.36-9+deb12u13", "amd64", "glibc"),
        DebianPackage("zlib1g", "1:1.2.13.dfsg-1+b1", "amd64", "zlib"),
    )


def test_the_system_says_what_it_is(root: Path) -> None:
    system = contents.read(root).system
    assert (system["ID"], system["VERSION_ID"], system["VERSION_CODENAME"]) == ("debian", "12", "bookworm")


def test_a_python_that_no_package_brought_is_found(root: Path) -> None:
    assert contents.read(root).interpreter == ""
    header = root / "usr/local/include/python3.11/patchlevel.h"
    header.parent.mkdir(parents=True)
    header.write_text('#define PY_MAJOR_VERSION 3\n#define PY_VERSION      \t"3.11.14"\n')
    assert contents.read(root).interpreter == "3.11.14"


def test_an_empty_image_has_nothing_in_it(tmp_path: Path) -> None:
    assert contents.read(tmp_path) == contents.Contents({}, (), ())

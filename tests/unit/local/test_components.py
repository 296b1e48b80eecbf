import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from iris_local import components
from iris_local.components import COMPONENTS, Component, Graft
from iris_local.errors import LocalClusterError

GO = "go1.26.8 linux amd64"
SHARED = re.compile(r"(k8s\.io/(?:api|apimachinery|client-go)|google\.golang\.org/(?:grpc|protobuf)|golang\.org/x/\w+)")


@pytest.fixture
def component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Component:
    shutil.copytree(COMPONENTS["pause"].folder, tmp_path / "pause")
    monkeypatch.setattr(components, "_MODULE_FOLDERS", tmp_path)
    return COMPONENTS["pause"]


def test_the_key_is_the_same_as_long_as_nothing_changes(component: Component) -> None:
    assert components.key(component, GO) == components.key(component, GO)


def test_the_key_changes_with_each_file_of_the_module(component: Component) -> None:
    before = components.key(component, GO)
    with (component.folder / "main.go").open("a") as source:
        source.write("// more\n")
    changed = components.key(component, GO)
    (component.folder / "other.go").write_text("package main\n")
    assert len({before, changed, components.key(component, GO)}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"tags": "purego"},
        {"package": "./other"},
        {"stamps": (("main.version", "2"),)},
        {"grafts": (Graft("lego", "example.com/lego", "v1.0.0", "h1:x", ()),)},
    ],
)
def test_the_key_changes_with_each_flag(component: Component, change: dict[str, object]) -> None:
    assert components.key(dataclasses.replace(component, **change), GO) != components.key(component, GO)  # type: ignore[arg-type]  # the parameters are of several types


def test_the_key_changes_with_the_compiler(component: Component) -> None:
    assert components.key(component, GO) != components.key(component, "go1.27.0 linux amd64")


def test_an_unknown_component_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(LocalClusterError, match="no component etcd; there are: kubernetes, "):
        components.get("etcd")


def test_each_version_is_the_one_that_its_module_is_pinned_to() -> None:
    pins = {
        "kubernetes": ("k8s.io/kubernetes", "v1.36.3"),
        "coredns": ("github.com/coredns/coredns", "v1.14.7"),
        "traefik": ("github.com/traefik/traefik/v3", "v3.7.13"),
        "alertmanager": ("github.com/prometheus/alertmanager", "v0.34.2"),
        "otelcol": ("go.opentelemetry.io/collector/otelcol", "v0.160.0"),
        "registry": ("github.com/distribution/distribution/v3", "v3.1.2"),
        "actionlint": ("github.com/rhysd/actionlint", "v1.7.12"),
    }
    for name, (module, version) in pins.items():
        assert f"v{COMPONENTS[name].version}" == version
        assert re.search(rf"\s{re.escape(module)} {re.escape(version)}\n", _pinned(name))


def test_packages_that_components_share_have_one_version_so_that_they_are_compiled_once() -> None:
    versions: dict[str, set[str]] = {}
    for name in (
        "kubernetes",
        "coredns",
        "traefik",
        "prometheus",
        "alertmanager",
        "otelcol",
        "victorialogs",
        "registry",
    ):
        required, _, replaced = _pinned(name).partition("\nreplace")
        replacements = dict(re.findall(rf"^\s+{SHARED.pattern} => \S+ (v\S+)", replaced, re.MULTILINE))
        for module, version in re.findall(rf"^\s+{SHARED.pattern} (v\S+)", required, re.MULTILINE):
            versions.setdefault(module, set()).add(replacements.get(module, version))
    assert {module: found for module, found in versions.items() if len(found) > 1} == {}


def test_no_module_is_taken_from_a_folder_outside_of_its_own() -> None:
    for component in COMPONENTS.values():
        replaced = re.findall(r"=> (\.\S*)", (component.folder / "go.mod").read_text())
        present = {folder.name for folder in component.folder.iterdir() if folder.is_dir()}
        grafted = {graft.folder for graft in component.grafts}
        assert {path.removeprefix("./") for path in replaced} <= present | grafted


def _pinned(name: str) -> str:
    return (COMPONENTS[name].folder / "go.mod").read_text()

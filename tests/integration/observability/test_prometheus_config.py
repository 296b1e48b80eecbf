"""The configuration as the pod of either overlay reads it, checked by promtool with every file that it names."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from iris_install import overlay
from iris_install.kubectl import Kubectl
from support.deploy.manifests import find_manifest
from support.servers.tools import component

IMAGE = "registry.example.com/iris-operator:1.2.3"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.mark.parametrize("name", ["local", "production"])
def test_promtool_finds_nothing_wrong_with_what_the_pod_reads(name: str, tmp_path: Path) -> None:
    objects = list(yaml.safe_load_all(overlay.render(Kubectl(component("kubectl")), name, IMAGE)))
    files = mounted(objects, find_manifest(objects, "Deployment", "prometheus"))
    (tmp_path / "account").mkdir()
    (tmp_path / "account" / "token").write_text("a token")
    (tmp_path / "account" / "ca.crt").write_text("a certificate")
    for path, text in files.items():
        place = tmp_path / path.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        # Absolute paths of the pod become those of this test.
        place.write_text(
            text.replace("/etc/prometheus", f"{tmp_path}/etc/prometheus").replace(ACCOUNT, f"{tmp_path}/account")
        )
    config = tmp_path / "etc/prometheus/prometheus.yml"
    done = subprocess.run(
        [component("promtool"), "check", "config", config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rules found") == 7
    scrapes = [
        job["job_name"]
        for path in (tmp_path / "etc/prometheus/scrapes").iterdir()
        for job in yaml.safe_load(path.read_text())["scrape_configs"]
    ]
    assert sorted(scrapes) == [
        "iris-alertmanager",
        "iris-inference",
        "iris-kubelet",
        "iris-operator",
        "iris-prometheus",
    ]


def mounted(objects: list[dict[str, Any]], deployment: dict[str, Any]) -> dict[str, str]:
    """What the ConfigMaps of the pod put where."""
    pod = deployment["spec"]["template"]["spec"]
    maps = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    found: dict[str, str] = {}
    for mount in pod["containers"][0]["volumeMounts"]:
        if mount["name"] not in maps:
            continue
        data = find_manifest(objects, "ConfigMap", maps[mount["name"]])["data"]
        for key, text in data.items():
            if mount.get("subPath", key) == key:
                found[mount["mountPath"] if "subPath" in mount else f"{mount['mountPath']}/{key}"] = text
    return found

"""Renders an overlay with the operator's image, which no file in the checkout can know."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from iris_install.errors import InstallError
from iris_install.kubectl import LOCAL_CONTEXT, Kubectl
from iris_local.paths import Paths, cache_root

ROOT = Path(__file__).resolve().parents[3]
OVERLAYS = ROOT / "deploy" / "overlays"
LOCAL_OVERLAY = "local"
# The name under which the base mentions the operator's image; overlays may have renamed it already.
_OPERATOR_NAMES = ("iris-operator", "localhost/iris-operator")
_IMAGE = re.compile(r"(?P<name>[^@\s]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")


def choose(context: str, wanted: str | None) -> str:
    """The overlay's name: what was asked for, else `local` on the one-machine cluster and `production` elsewhere."""
    name = wanted or (LOCAL_OVERLAY if context == LOCAL_CONTEXT else "production")
    known = sorted(path.name for path in OVERLAYS.iterdir() if path.is_dir())
    if name not in known:
        raise InstallError(f"There is no overlay {name}; there are: {', '.join(known)}.")
    return name


def render(kubectl: Kubectl, overlay: str, operator_image: str) -> str:
    """The overlay's objects as YAML, with the operator's image set."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../../deploy/overlays/{overlay}"],
        "images": [{"name": name, **_parts(operator_image)} for name in _OPERATOR_NAMES],
        "patches": [_folders_of_the_local_cluster(Paths(cache_root()))] if overlay == LOCAL_OVERLAY else [],
    }
    # kustomize follows relative paths only, so the folder has to lie in the checkout.
    (ROOT / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="deploy-", dir=ROOT / ".cache") as folder:
        (Path(folder) / "kustomization.yaml").write_text(json.dumps(kustomization))
        return kubectl.text("kustomize", folder)


def _folders_of_the_local_cluster(paths: Paths) -> dict[str, Any]:
    """Its kubelet keeps the logs of pods below the cache, which lies elsewhere on each machine."""
    volumes = [
        {"name": "pod-logs", "hostPath": {"path": str(paths.pod_logs)}},
        {"name": "state", "hostPath": {"path": str(paths.shipping)}},
    ]
    patch = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "otelcol", "namespace": "iris-logs"},
        "spec": {"template": {"spec": {"volumes": volumes}}},
    }
    return {"patch": json.dumps(patch)}


def _parts(image: str) -> dict[str, str]:
    match = _IMAGE.fullmatch(image)
    if match is None or not (match["tag"] or match["digest"]):
        raise InstallError(
            f"The operator's image {image!r} needs a tag or a digest, as in registry.example.com/iris-operator:1.2.3."
        )
    if match["tag"] == "latest" and not match["digest"]:
        raise InstallError(
            "The operator's image must not be tagged `latest`: nobody could tell later what was running."
        )
    fixed = {"digest": match["digest"]} if match["digest"] else {"newTag": match["tag"]}
    return {"newName": match["name"], **fixed}
